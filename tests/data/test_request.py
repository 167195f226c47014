from pathlib import Path

import pytest

from yoloprune.data.request import Request, canonical, choose_split
from yoloprune.errors import DatasetError

SOURCE = Path("set")


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("train2017", "train"),
        ("Train_Images", "train"),
        ("valid", "val"),
        ("Validation", "val"),
        ("testing", "test"),
        ("test-set", "test"),
        ("Dev", "dev"),
        ("2017", "2017"),
        ("images", "images"),
    ],
)
def test_a_split_goes_by_its_usual_name(written: str, usual: str) -> None:
    assert canonical(written) == usual


def test_the_split_to_evaluate_on_is_the_only_one_or_test_or_val() -> None:
    assert choose_split(["all"], None, SOURCE) == "all"
    assert choose_split(["train", "valid", "testing"], None, SOURCE) == "testing"
    assert choose_split(["train", "valid"], None, SOURCE) == "valid"
    with pytest.raises(DatasetError, match=r"set: no split to evaluate on: .* splits: dev, train"):
        choose_split(["train", "dev"], None, SOURCE)


def test_a_split_that_is_there_by_letter_comes_first() -> None:
    assert choose_split(["train", "train2017"], "train", SOURCE) == "train"
    assert choose_split(["train2017", "val"], "training", SOURCE) == "train2017"
    with pytest.raises(DatasetError, match=r"set: has no split 'dev' \(splits: train, val\)"):
        choose_split(["val", "train"], "dev", SOURCE)
    with pytest.raises(DatasetError, match=r"has no split 'dev' \(splits: none\)"):
        choose_split([], "dev", SOURCE)


def test_a_request_reads_all_splits_or_one() -> None:
    splits = ("train", "val")
    assert Request().chosen(splits, SOURCE) == splits
    assert Request(one=True).chosen(splits, SOURCE) == ("val",)
    assert Request(split="training").chosen(splits, SOURCE) == ("train",)
