from pathlib import Path

import pytest

from tests.data.originals import small_original
from tests.reporters import Heard
from yoloprune.data.read import read_dataset
from yoloprune.errors import UsageError
from yoloprune.workflows.vgg_hand import convert_vgg_hand


def test_an_original_becomes_a_data_set_and_says_what_is_missing(tmp_path: Path) -> None:
    heard = Heard()
    source, out = small_original(tmp_path / "original"), tmp_path / "hands"
    found = convert_vgg_hand(str(source), str(out), reporter=heard)
    assert found.shown().summary == f"{out / 'hand.data'}: 4 hands"
    rows = {what: (number, whole) for what, number, whole in found.shown().rows}
    assert rows["hands"][0] == 4 < rows["hands"][1]
    assert heard.warnings
    # Two boxes of hands to learn from; the test split has one.
    assert read_dataset(out / "hand.data", classes=1, split="train").object_count >= 2
    with pytest.raises(UsageError, match="hands"):
        convert_vgg_hand(source, out)
