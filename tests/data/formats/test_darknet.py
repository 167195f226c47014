from pathlib import Path

import pytest

from tests.data.formats.files import label, touch
from yoloprune.data.formats.darknet import read_data_file, write_data_file
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.errors import DatasetError


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
    # Or from the folder above, which is where darknet is mostly started.
    assert read_dataset(moved, classes=2).object_count == 1
    (moved.parents[2] / "away").mkdir()
    moved = moved.rename(moved.parents[2] / "away" / "obj.data")
    with pytest.raises(DatasetError, match="not found"):
        read_dataset(moved, classes=2)
    monkeypatch.chdir(data_file.parent)
    assert read_dataset(moved, classes=2).object_count == 1


@pytest.mark.parametrize("folder", ["data", "."])
def test_a_folder_is_read_by_its_data_file(folder: str, tmp_path: Path) -> None:
    root = tmp_path / folder
    touch(root, "obj/a.jpg", "obj/b.jpg")
    label(root, "obj/a.txt")
    label(root, "obj/b.txt")
    label(root, "train.txt", "data/obj/a.jpg\n" if folder == "data" else "obj/a.jpg\n")
    label(root, "valid.txt", "data/obj/b.jpg\n" if folder == "data" else "obj/b.jpg\n")
    label(root, "obj.names", "hand\n")
    prefix = "data/" if folder == "data" else ""
    label(root, "obj.data", f"train={prefix}train.txt\nvalid={prefix}valid.txt\n"
          f"names={prefix}obj.names\n")  # fmt: skip
    raw = read_raw(tmp_path)
    assert raw.names == ("hand",)
    assert {split: len(images) for split, images in raw.splits.items()} == {"train": 1, "valid": 1}


def test_what_is_written_says_which_split_is_which(tmp_path: Path) -> None:
    lists = {split: [tmp_path / f"{split}.jpg"] for split in ("train", "val", "test")}
    write_data_file(tmp_path, "x", ["hand"], lists)
    options = read_data_file(tmp_path / "x.data")
    assert (options["train"], options["valid"], options["test"]) == (
        "train.txt", "val.txt", "test.txt",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("classes = 2", "classes = 80", "classes = 80, but 2 names"),
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
    with pytest.raises(DatasetError, match=r"obj\.data: image .*images/gone\.jpg not found"):
        read_dataset(data_file, classes=2)
    (data_file.parent / "valid.txt").write_text("")
    with pytest.raises(DatasetError, match="no images found"):
        read_dataset(data_file, classes=2)
