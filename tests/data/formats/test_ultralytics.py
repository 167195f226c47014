"""data.yaml: github.com/ultralytics/ultralytics, docs.ultralytics.com/datasets/detect."""

from pathlib import Path

import pytest

from tests.data.formats.files import label, touch
from yoloprune.data.formats import ultralytics
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.data.request import Request
from yoloprune.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val", "test"):
        touch(tmp_path, f"images/{split}/{split}.jpg")
        label(tmp_path, f"labels/{split}/{split}.txt")
    return tmp_path


def splits(root: Path, text: str) -> dict[str, list[str]]:
    (root / "data.yaml").write_text(text)
    raw = read_raw(root / "data.yaml")
    return {split: [image.path.name for image in images] for split, images in raw.splits.items()}


@pytest.mark.parametrize(
    "entries",
    [
        "train: images/train\nval: images/val",
        "path: .\ntrain: images/train\nval: images/val",
        "path: {root}\ntrain: ./images/train\nval: {root}/images/val",
        "path: {name}\ntrain: images/train\nval: images/val",
        "train: ../images/train\nval: ../images/val",
        "train: [images/train]\nval: [images/val/val.jpg]",
        "train: train.txt\nval:\n  - val.txt",
        "train: images\\train\nval: images\\val",
        "train: images/train\nvalid: images/val\ntest:",
    ],
)
def test_entries_are_folders_lists_or_images(entries: str, root: Path) -> None:
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"./images/{split}/{split}.jpg\n")
    found = splits(root, entries.format(root=root, name=root.name) + "\nnames: [hand]\n")
    assert list(found.values()) == [["train.jpg"], ["val.jpg"]]


def test_a_file_from_another_machine_is_taken_for_the_folder_it_lies_in(root: Path) -> None:
    found = splits(root, "path: /content/set\ntrain: gone/a\nval: gone/b\nnames: [hand]\n")
    assert sorted(found) == ["test", "train", "val"]


def test_a_folder_that_is_named_twice_is_either_split_but_not_two(root: Path) -> None:
    # As coco8.yaml and coco128.yaml of Ultralytics do.
    text = "train: images/train\nval: images/train\nnames: [hand]\n"
    assert list(splits(root, text)) == ["train"]
    for request in (Request(split="val"), Request(one=True)):
        (found,) = ultralytics.read(root / "data.yaml", request).splits.items()
        assert found[0] == "val" and [image.path.name for image in found[1]] == ["train.jpg"]


@pytest.mark.parametrize("key", ["train", "val"])
def test_an_entry_that_leads_nowhere_is_named(key: str, root: Path) -> None:
    other = "val" if key == "train" else "train"
    with pytest.raises(DatasetError, match=rf"{key}: '\.\./tain/images' not found \(from "):
        splits(root, f"{other}: images/{other}\n{key}: ../tain/images\nnames: [hand]\n")
    # Roboflow names a test split that it may not write.
    splits(root, "train: images/train\ntest: ../test/pictures\nnames: [hand]\n")


def test_one_split_under_two_names_is_one(root: Path) -> None:
    found = splits(root, "train: images/train\nval: images/train\nnames: [hand]\n")
    assert found == {"train": ["train.jpg"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [hand, foot]", ("hand", "foot")),
        ("names:\n  1: foot\n  0: hand", ("hand", "foot")),
        # YAML's booleans, numbers and nothings are names here.
        ("names: [yes, No, 007, null, 1.0]", ("yes", "No", "007", "null", "1.0")),
        ("nc: 2", ("class 0", "class 1")),
        ("nc: 1\nnames: ['a: b']", ("a: b",)),
    ],
)
def test_names(text: str, names: tuple[str, ...], root: Path) -> None:
    (root / "data.yaml").write_text(f"train: images/train\n{text}\n")
    assert read_raw(root).names == names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nc: 3\nnames: [hand]", "nc is 3, but there are 1 names"),
        ("nc: many\nnames: [hand]", "nc must be a number of classes, not 'many'"),
        ("nc: -1", "nc must be a number of classes, not '-1'"),
        ("names:\n  0: hand\n  2: foot", "names must be numbered from 0 without gaps"),
        ("names:\n  hand: 0", "names must be numbered from 0"),
        ("names:\n  0: hand\n  0: foot", "'0' is given twice"),
        ("names: hand", "names must be a list"),
        ("names: [[hand]]", "names must be a list"),
        ("names: [hand", "not YAML"),
        ("names: !!python/object/apply:os.getcwd []", "names must be a list"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, problem: str, root: Path) -> None:
    (root / "data.yaml").write_text(f"train: images/train\n{text}\n")
    with pytest.raises(DatasetError, match=rf"data\.yaml: .*({problem})"):
        read_raw(root / "data.yaml")


@pytest.mark.parametrize("text", ["", "[]", "hand", "- train"])
def test_other_documents_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match="expected a mapping with train, val and names"):
        read_raw(tmp_path / "data.yaml")


def test_lists_that_hold_one_another_stay_small(tmp_path: Path) -> None:
    # Spelled out, the last would have nine to the power of ten words.
    text, before = "a: &a [x, x]\n", "a"
    for name in "bcdefghij":
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        before = name
    for rest in ("train: *j\nnames: [a]\n", "train: .\nnames: *j\n", "train: .\nnc: *j\n"):
        (tmp_path / "data.yaml").write_text(text + rest)
        with pytest.raises(DatasetError) as caught:
            read_raw(tmp_path / "data.yaml")
        assert len(str(caught.value)) < 500


def test_the_whole_file_system_is_no_data_set(root: Path) -> None:
    (root / "data.yaml").write_text("train: /\nnames: [hand]\n")
    for path in (root / "data.yaml", Path("/")):
        with pytest.raises(DatasetError, match="the whole file system"):
            read_raw(path)


def test_other_yaml_files_do_not_make_a_data_set(root: Path) -> None:
    (root / "mkdocs.yaml").write_text("site_name: x\n")
    assert read_dataset(root, classes=1).object_count == 1
