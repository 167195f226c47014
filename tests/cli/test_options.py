"""What options of several commands understand."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from yoloprune.cli.main import app


@pytest.mark.parametrize("word", ["0", "-8", "eight", "1.5", ""])
def test_a_multiple_is_a_whole_number_or_auto(net: Path, tmp_path: Path, word: str) -> None:
    words = ["prune", str(net), "--keep-macs", "0.9", "--out", str(tmp_path / "slim")]
    found = CliRunner().invoke(app, [*words, "--round-to", word])
    assert found.exit_code == 2
    assert f"{word!r} is neither a whole number from 1 nor auto" in " ".join(found.output.split())
    assert CliRunner().invoke(app, [*words, "--round-to", "auto", "--no-time"]).exit_code == 0
