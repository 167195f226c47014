from pathlib import Path

import numpy as np
import pytest

from yoloprune.data.labels import read_labels, read_names
from yoloprune.data.read import read_dataset
from yoloprune.errors import DatasetError


def touch(root: Path, *names: str) -> None:
    """Files without content: nothing here opens an image."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def label(root: Path, name: str, text: str = "0 0.5 0.5 0.5 0.5\n") -> None:
    touch(root, name)
    (root / name).write_text(text)


def found(root: Path, split: str | None = None) -> list[str]:
    dataset = read_dataset(root, classes=2, split=split)
    return [image.path.relative_to(root).as_posix() for image in dataset.images]


def test_boxes_and_classes_are_read(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "1 0.5 0.25 1 0.5\n\n  0\t0.1 0.2 0.05 0.1  \n")
    boxes, labels = read_labels(tmp_path / "a.txt", 2)
    assert boxes.tolist() == [[0.5, 0.25, 1.0, 0.5], [0.1, 0.2, 0.05, 0.1]]
    assert labels.tolist() == [1, 0]
    assert (boxes.dtype, labels.dtype) == (np.float64, np.int64)


def test_an_empty_file_has_no_objects(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "")
    boxes, labels = read_labels(tmp_path / "a.txt", 2)
    assert (boxes.shape, labels.shape) == ((0, 4), (0,))


def test_boxes_that_rounding_pushed_out_are_cut(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "0 0.0996 0.9 0.2 0.201\n")
    boxes, _ = read_labels(tmp_path / "a.txt", 1)
    left, top, right, bottom = (
        boxes[0, 0] - boxes[0, 2] / 2,
        boxes[0, 1] - boxes[0, 3] / 2,
        boxes[0, 0] + boxes[0, 2] / 2,
        boxes[0, 1] + boxes[0, 3] / 2,
    )
    assert (left, top, right, bottom) == pytest.approx((0, 0.7995, 0.1996, 1))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 0.5", "expected 5 columns (class cx cy width height), found 4"),
        ("0 0.5 0.5 0.5 0.5 0.9", "expected 5 columns (class cx cy width height), found 6"),
        ("hand 0.5 0.5 0.5 0.5", "class 'hand' is not an integer"),
        ("0.0 0.5 0.5 0.5 0.5", "class '0.0' is not an integer"),
        ("-1 0.5 0.5 0.5 0.5", "class -1 is not one of the 2 classes (0 to 1)"),
        ("2 0.5 0.5 0.5 0.5", "class 2 is not one of the 2 classes (0 to 1)"),
        ("0 0.5 O.5 0.5 0.5", "'0.5 O.5 0.5 0.5' is not four numbers"),
        ("0 nan 0.5 0.5 0.5", "box nan 0.5 0.5 0.5 is not finite"),
        ("0 0.5 0.5 1e999 0.5", "box 0.5 0.5 inf 0.5 is not finite"),
        ("0 0.5 0.5 0 0.5", "box 0.5 0.5 0 0.5 has no area"),
        ("0 0.5 0.5 0.5 -0.5", "box 0.5 0.5 0.5 -0.5 has no area"),
        ("0 0.1 0.5 0.21 0.5", "box 0.1 0.5 0.21 0.5 leaves the image (coordinates are"),
        ("0 208 208 100 50", "box 208 208 100 50 leaves the image (coordinates are"),
        ("0 1.0005 0.5 0.0005 0.5", "box 1.0005 0.5 0.0005 0.5 lies outside the image"),
    ],
)
def test_a_malformed_line_is_named(line: str, problem: str, tmp_path: Path) -> None:
    label(tmp_path, "a.txt", f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_labels(tmp_path / "a.txt", 2)
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}:2: {problem}")


def test_label_files_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x80\x81")
    with pytest.raises(DatasetError, match=r"a\.txt: not a text file"):
        read_labels(tmp_path / "a.txt", 2)


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
    assert dataset.unlabelled == 1


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
    with pytest.raises(DatasetError, match="2 names, but the network has 3 classes"):
        read_dataset(tmp_path, classes=3)


def test_two_names_files_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.names", "b.names")
    with pytest.raises(DatasetError, match=r"several \.names files \(a\.names, b\.names"):
        read_dataset(tmp_path, classes=1)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither a folder nor a darknet \.data"):
        read_dataset(tmp_path / "gone", classes=1)
    with pytest.raises(DatasetError, match=r"no images found \(splits: none"):
        read_dataset(tmp_path, classes=1)
    touch(tmp_path, "images/dev/a.jpg", "images/train/b.jpg")
    with pytest.raises(DatasetError, match=r"no images found \(splits: dev, train; choose"):
        read_dataset(tmp_path, classes=1)
    with pytest.raises(DatasetError, match=r"no split 'val' \(splits: dev, train"):
        read_dataset(tmp_path, classes=1, split="val")
    with pytest.raises(DatasetError, match="none of the 1 images has a label file"):
        read_dataset(tmp_path, classes=1, split="dev")
    (tmp_path / "images" / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images found"):
        read_dataset(tmp_path, classes=1, split="empty")


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """A darknet data set whose paths start from the .data file's folder."""
    touch(tmp_path, "images/a.jpg", "images/b.jpg")
    label(tmp_path, "labels/a.txt")
    label(tmp_path, "labels/b.txt", "1 0.5 0.5 0.1 0.1\n")
    (tmp_path / "train.txt").write_text("images/a.jpg\n")
    (tmp_path / "valid.txt").write_text("images/b.jpg\n")
    (tmp_path / "obj.names").write_text("hand\nfoot\n")
    path = tmp_path / "obj.data"
    path.write_text(
        "classes = 2\ntrain= train.txt\n# a comment\nvalid =valid.txt\nnames = obj.names\n"
        "backup = backup/\n"
    )
    return path


@pytest.mark.parametrize(
    ("split", "image"),
    [(None, "b.jpg"), ("val", "b.jpg"), ("valid", "b.jpg"), ("train", "a.jpg")],
)
def test_a_data_file_names_its_splits(data_file: Path, split: str | None, image: str) -> None:
    dataset = read_dataset(data_file, classes=2, split=split)
    assert [i.path.name for i in dataset.images] == [image]
    assert dataset.names == ("hand", "foot")
    assert dataset.object_count == 1


def test_paths_of_a_data_file_may_start_from_the_working_directory(
    data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = data_file.parent / "cfg" / "obj.data"
    moved.parent.mkdir()
    data_file.rename(moved)
    with pytest.raises(DatasetError, match="not found"):
        read_dataset(moved, classes=2)
    monkeypatch.chdir(moved.parents[1])
    assert read_dataset(moved, classes=2).object_count == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("classes = 2", "classes = 80", "classes = 80, but the network has 2 classes"),
        ("valid =valid.txt", "", "has no option 'valid' naming a list of images"),
        ("valid =valid.txt", "valid = gone.txt", "gone.txt not found"),
        ("valid =valid.txt", "valid", "obj.data:4: expected key = value, found 'valid'"),
        ("names = obj.names", "names = gone.names", "gone.names not found"),
    ],
)
def test_a_malformed_data_file_is_refused(
    data_file: Path, old: str, new: str, problem: str
) -> None:
    data_file.write_text(data_file.read_text().replace(old, new))
    with pytest.raises(DatasetError) as caught:
        read_dataset(data_file, classes=2)
    assert problem in str(caught.value)


def test_a_listed_image_that_is_missing_is_named(data_file: Path) -> None:
    (data_file.parent / "valid.txt").write_text("images/b.jpg\nimages/gone.jpg\n")
    with pytest.raises(DatasetError, match=r"valid\.txt:2: image images/gone\.jpg not found"):
        read_dataset(data_file, classes=2)
    (data_file.parent / "valid.txt").write_text("")
    with pytest.raises(DatasetError, match="no images found"):
        read_dataset(data_file, classes=2)


def test_a_names_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.names: cannot read the file"):
        read_names(tmp_path / "gone.names", 1)
