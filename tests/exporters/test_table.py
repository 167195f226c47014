from pathlib import Path

import pytest

from yoloprune.errors import UsageError
from yoloprune.exporters.table import FORMATS, format_of


def test_a_suffix_says_the_format_in_any_case() -> None:
    for row in FORMATS.values():
        assert (
            format_of(Path(f"net{row.suffix}"))
            is format_of(Path(f"NET{row.suffix.upper()}"))
            is row
        )
    assert len({row.suffix for row in FORMATS.values()}) == len(FORMATS)
    with pytest.raises(UsageError, match=r"net\.pb: no export format has this suffix: choose one"):
        format_of(Path("net.pb"))
