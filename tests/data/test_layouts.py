"""Layouts that tools write: read as they are, cleaned, and read again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.layouts import BOX, LAYOUTS, LINE, NAMES, image, text
from yoloprune.data.check import check_dataset, write_clean_copy
from yoloprune.data.dataset import Dataset, Fault
from yoloprune.data.read import dataset_images, read_dataset, read_raw
from yoloprune.errors import DatasetError

HARMLESS = {Fault.POLYGON, Fault.NO_AREA, Fault.REPEATED_IMAGE}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    builder: Callable[[Path], Path] = request.param
    return builder


def check_content(dataset: Dataset) -> None:
    assert dataset.names == NAMES
    assert len(dataset.images) == 2
    for found in dataset.images:
        assert found.path.is_file()
        assert len(found.labels) == 1
        if NAMES[found.labels[0]] == "left hand":
            assert found.boxes[0] == pytest.approx(BOX, abs=1e-6)
        else:
            assert found.boxes[0] == pytest.approx([0, 0, 1, 1])


def test_it_is_read_from_any_working_directory(
    layout: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = layout(tmp_path / "set")
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    raw = read_raw(path)
    splits = sorted(raw.splits)
    assert len(splits) in (1, 2)
    check_content(read_dataset(path, classes=2))
    if len(splits) == 2:
        check_content(read_dataset(path, classes=2, split="train"))
        check_content(read_dataset(path, classes=2, split="Validation"))
    assert len(dataset_images(path)) in (2, 4)


def test_a_cleaned_copy_is_usable_as_it_is(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    raw = read_raw(layout(tmp_path / "set"))
    check = check_dataset(raw)
    assert {finding.fault for finding in check.findings} <= HARMLESS
    copy = tmp_path / "my copy"
    write_clean_copy(check, copy, "my #1 set")
    for source in (copy, copy / "my__1_set.data", copy / "data.yaml"):
        for split in ("train", None):
            check_content(read_dataset(source, classes=2, split=split))
    # darknet strips blanks from the values of a .data file and finds its lists from here.
    values = [line.split("=")[1] for line in (copy / "my__1_set.data").read_text().splitlines()]
    assert all(" " not in value.strip() and "#" not in value for value in values)


def test_the_number_of_classes_is_checked(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    path = layout(tmp_path)
    with pytest.raises(
        DatasetError, match=r"2 classes \(left hand, foot\), but the network has 80"
    ):
        read_dataset(path, classes=80)


@pytest.mark.parametrize("name", ["a\nb", "tab\there", "esc\x1b[31m", " blank ", "#1", "ä" * 110])
def test_odd_file_names_survive_a_clean_copy(name: str, tmp_path: Path) -> None:
    image(tmp_path / "set" / f"{name}.jpg")
    text(tmp_path / "set" / f"{name}.txt", LINE)
    text(tmp_path / "set" / "classes.txt", "left hand\nfoot\n")
    write_clean_copy(check_dataset(read_raw(tmp_path / "set")), tmp_path / "copy", "set")
    for source in (tmp_path / "copy", tmp_path / "copy" / "set.data"):
        assert read_dataset(source, classes=2).object_count == 1


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = tmp_path / "set"
    image(root / "a.jpg")
    odd = b"\xb4\xfa.jpg"
    Path(str(root / "a.jpg")).rename(Path(str(root), odd.decode("utf-8", "surrogateescape")))
    text(Path(str(root), odd[:-4].decode("utf-8", "surrogateescape") + ".txt"), LINE)
    (root / "train.txt").write_bytes(odd + b"\n")
    (root / "obj.names").write_bytes(b"M\xfcnze\n")
    text(root / "obj.data", "classes=1\ntrain=train.txt\nnames=obj.names\n")
    assert read_dataset(root / "obj.data", classes=1).names == ("Münze",)
    write_clean_copy(check_dataset(read_raw(root / "obj.data")), tmp_path / "copy", "set")
    assert read_dataset(tmp_path / "copy", classes=1).object_count == 1


def test_names_with_line_breaks_stay_one_line(tmp_path: Path) -> None:
    image(tmp_path / "set" / "a.jpg")
    text(tmp_path / "set" / "a.txt", LINE)
    text(tmp_path / "set" / "data.yaml", 'train: .\nnames: ["left\\nhand", "\\e[31m"]\n')
    write_clean_copy(check_dataset(read_raw(tmp_path / "set")), tmp_path / "copy", "set")
    assert read_dataset(tmp_path / "copy" / "set.data", classes=2).names == ("left hand", "[31m")


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    image(tmp_path / "set/images/val/a.jpg")
    image(tmp_path / "far/b.jpg")
    text(tmp_path / "set/labels/val/a.txt", LINE)
    text(tmp_path / "far-labels/b.txt", LINE)
    (tmp_path / "set/images/val/extra").symlink_to(tmp_path / "far")
    (tmp_path / "set/labels/val/extra").symlink_to(tmp_path / "far-labels")
    (tmp_path / "set/images/val/round").symlink_to(tmp_path / "set/images")
    assert read_dataset(tmp_path / "set", classes=1).object_count == 2


@pytest.mark.parametrize("split", ["Train", "TRAIN", "training", "train2017", "train_images"])
def test_a_split_goes_by_its_usual_names(split: str, tmp_path: Path) -> None:
    for folder in (split, "Validation"):
        image(tmp_path / folder / "a.jpg")
        text(tmp_path / folder / "a.txt", LINE)
    assert read_dataset(tmp_path, classes=1, split="train").images[0].path.parent.name == split
    assert read_dataset(tmp_path, classes=1).images[0].path.parent.name == "Validation"
