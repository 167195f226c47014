from pathlib import Path

import pytest

from tests.data.formats.files import label, touch
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.errors import DatasetError


def found(root: Path, split: str | None = None) -> list[str]:
    dataset = read_dataset(root, classes=2, split=split)
    return [image.path.relative_to(root).as_posix() for image in dataset.images]


@pytest.mark.parametrize("splits", [("test", "val", "valid"), ("val", "valid"), ("valid",)])
def test_the_split_for_evaluation_is_taken_first(splits: tuple[str, ...], tmp_path: Path) -> None:
    for split in ("train", *splits):
        touch(tmp_path, f"images/{split}/{split}.jpg")
        label(tmp_path, f"labels/{split}/{split}.txt")
    assert found(tmp_path) == [f"images/{splits[0]}/{splits[0]}.jpg"]
    assert found(tmp_path, "train") == ["images/train/train.jpg"]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("images/a.jpg", "images/a.txt"),
        ("a.jpg", "a.txt"),
        ("val/images/a.jpg", "val/labels/a.txt"),
        ("val/a.jpg", "val/a.txt"),
        ("images/val/city/a.jpg", "labels/val/city/a.txt"),
    ],
)
def test_folder_layouts(image: str, labels: str, tmp_path: Path) -> None:
    touch(tmp_path, image)
    label(tmp_path, labels)
    dataset = read_dataset(tmp_path, classes=2)
    assert [i.path for i in dataset.images] == [tmp_path / image]
    assert dataset.object_count == 1


def test_a_folder_inside_the_data_set_can_be_given(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.jpg", "images/dev/b.jpg")
    label(tmp_path, "labels/dev/b.txt")
    assert read_dataset(tmp_path / "images" / "dev", classes=1).object_count == 1


def test_missing_label_files_are_counted_and_mean_no_objects(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    label(tmp_path, "a.txt")
    label(tmp_path, "b.txt", "")
    dataset = read_dataset(tmp_path, classes=1)
    assert [len(image.labels) for image in dataset.images] == [1, 0, 0]
    assert dataset.images[2].boxes.shape == (0, 4)
    assert dataset.unlabeled == 1


def test_a_limit_takes_the_first_images(tmp_path: Path) -> None:
    for name in "abc":
        touch(tmp_path, f"{name}.jpg")
        label(tmp_path, f"{name}.txt")
    dataset = read_dataset(tmp_path, classes=1, limit=2)
    assert [image.path.name for image in dataset.images] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("file", ["hands.names", "classes.txt"])
def test_names_are_found_in_the_folder(file: str, tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    label(tmp_path, "a.txt")
    assert read_dataset(tmp_path, classes=2).names == ("class 0", "class 1")
    (tmp_path / file).write_text("left hand\nright hand\n\n")
    assert read_dataset(tmp_path, classes=2).names == ("left hand", "right hand")
    with pytest.raises(
        DatasetError, match=r"2 classes \(left hand, right hand\), but the network has 3"
    ):
        read_dataset(tmp_path, classes=3)


def test_two_names_files_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    label(tmp_path, "a.names", "hand")
    label(tmp_path, "b.names", "hand\n")
    assert read_raw(tmp_path).names == ("hand",)
    label(tmp_path, "b.names", "foot\n")
    with pytest.raises(DatasetError, match=r"several \.names files \(a\.names, b\.names"):
        read_dataset(tmp_path, classes=1)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither a folder, nor a data\.yaml, darknet \.data"):
        read_dataset(tmp_path / "gone", classes=1)
    with pytest.raises(DatasetError, match="no images found"):
        read_dataset(tmp_path, classes=1)
    touch(tmp_path, "images/dev/a.jpg", "images/train/b.jpg")
    with pytest.raises(
        DatasetError, match="no split to evaluate on: choose one of its splits: dev, train"
    ):
        read_dataset(tmp_path, classes=1)
    with pytest.raises(DatasetError, match=r"no split 'val' \(splits: dev, train"):
        read_dataset(tmp_path, classes=1, split="val")
    with pytest.raises(DatasetError, match="none of the 1 images has a label file"):
        read_dataset(tmp_path, classes=1, split="dev")
    (tmp_path / "images" / "empty").mkdir()
    with pytest.raises(DatasetError, match="no split 'empty'"):
        read_dataset(tmp_path, classes=1, split="empty")
