import json
from pathlib import Path

import pytest

from tests.data.originals import write_image
from yoloprune.data.check import Check, Fault, check_dataset, write_clean_copy
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.errors import DatasetError

GOOD = "0 0.5 0.5 0.5 0.5\n"


def add(root: Path, name: str, label: str | None = GOOD, split: str = "train") -> Path:
    image = root / "images" / split / name
    write_image(image)
    if label is not None:
        text = (root / "labels" / split / name).with_suffix(".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(label)
    return image


def found(check: Check) -> list[tuple[Fault, str]]:
    return [(f.fault, f"{Path(f.where).name} {f.text}") for f in check.findings]


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_sound_data_set_has_no_findings(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg")
    add(tmp_path, "bb.png", "0 0.25 0.25 0.5 0.5\n1 0.25 0.25 0.5 0.5\n")
    add(tmp_path, "ccc.jpg", "", split="test")
    check = check_dataset(read_raw(tmp_path))
    assert check.findings == ()
    assert dict(check.listed) == {"test": 1, "train": 2}
    assert check.names == ("class 0", "class 1")
    assert [len(image.labeled.labels) for image in check.images] == [0, 1, 2]
    assert check.images[0].size == (90, 100)


@pytest.mark.parametrize(
    ("line", "fault", "text"),
    [
        ("2 0.5 0.5 0.2 0.2", Fault.UNKNOWN_CLASS, "class 2"),
        ("-1 0.5 0.5 0.2 0.2", Fault.UNKNOWN_CLASS, "class -1"),
        ("0 0.5 0.5 0 0.2", Fault.NO_AREA, "left 0.5, top 0.4, right 0.5, bottom 0.6"),
        ("0 0.5 0.5 -0.1 0.2", Fault.NO_AREA, "left 0.55, top 0.4, right 0.45, bottom 0.6"),
        ("0 0.9 0.5 0.5 0.2", Fault.OUTSIDE, "left 0.65, top 0.4, right 1.15, bottom 0.6"),
        ("0 1.5 0.5 0.5 0.2", Fault.NO_AREA, "left 1.25, top 0.4, right 1.75, bottom 0.6"),
        ("0 0.5 0.50005 0.5 0.5", Fault.DUPLICATE, "left 0.25, top 0.25"),
    ],
)
def test_each_fault_is_found_where_it_is(
    line: str, fault: Fault, text: str, tmp_path: Path
) -> None:
    add(tmp_path, "a.jpg", f"{GOOD}{line}\n")
    (tmp_path / "obj.names").write_text("hand\nfoot\n")
    check = check_dataset(read_raw(tmp_path))
    ((seen, where),) = found(check)
    assert seen == fault
    assert where.startswith("a.txt")
    assert text in where
    clipped = fault == Fault.OUTSIDE and "0.9" in line
    assert len(check.images[0].labeled.labels) == 1 + clipped
    if clipped:
        assert check.images[0].labeled.boxes[1] == pytest.approx([0.65, 0.4, 1, 0.6])


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.5", "hand 0.5 0.5 0.5 0.5", "0 0.5 0.5 nan 0.5"])
def test_an_image_whose_annotation_cannot_be_read_whole_is_left_out(
    line: str, tmp_path: Path
) -> None:
    add(tmp_path, "a.jpg", f"{GOOD}{line}\n")
    add(tmp_path, "bb.jpg")
    check = check_dataset(read_raw(tmp_path))
    assert [(fault, text[:8]) for fault, text in found(check)] == [
        (Fault.MALFORMED, "a.txt:2 "[:8])
    ]
    assert [image.labeled.path.name for image in check.images] == ["bb.jpg"]


def test_one_box_of_two_classes_is_no_duplicate(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg", "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.502\n")
    assert check_dataset(read_raw(tmp_path)).findings == ()


def test_faults_of_images(tmp_path: Path) -> None:
    first = add(tmp_path, "a.jpg")
    add(tmp_path, "empty.jpg").write_bytes(b"")
    whole = first.read_bytes()
    add(tmp_path, "cut.jpg").write_bytes(whole[:-100])
    add(tmp_path, "unlabeled.jpg", None)
    add(tmp_path, "copy.jpg", split="valid").write_bytes(whole)
    check = check_dataset(read_raw(tmp_path))
    assert sorted(found(check)) == [
        (Fault.CORRUPT_IMAGE, "cut.jpg the JPEG file is cut off before its end"),
        (Fault.CORRUPT_IMAGE, "empty.jpg not an image that can be decoded (damaged or empty)"),
        (Fault.REPEATED_IMAGE, f"copy.jpg the same file as {first} of train"),
        (
            Fault.NO_LABELS,
            f"unlabeled.jpg no label file, looked for {tmp_path}/labels/train/unlabeled.txt or "
            f"{tmp_path}/images/train/unlabeled.txt",
        ),
    ]
    assert {split: len(images) for split, images in check.splits.items()} == {
        "train": 2,
        "valid": 1,
    }


def test_a_data_file_and_what_its_lists_miss(tmp_path: Path) -> None:
    add(tmp_path, "a.jpg")
    (tmp_path / "train.txt").write_text("images/train/a.jpg\nimages/train/gone.jpg\n")
    (tmp_path / "obj.names").write_text("hand\n")
    data = tmp_path / "obj.data"
    data.write_text("classes=1\ntrain=train.txt\nvalid=train.txt\nnames=obj.names\n")
    check = check_dataset(read_raw(data))
    assert list(check.splits) == ["train"]
    assert found(check) == [(Fault.MISSING_IMAGE, "gone.jpg No such file or directory")]
    data.write_text("classes=2\ntrain=train.txt\nnames=obj.names\n")
    with pytest.raises(DatasetError, match="classes = 2, but 1 names"):
        read_raw(data)


def test_faults_of_coco_and_voc_are_findings(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    coco = tmp_path / "coco.json"
    coco.write_text(
        json.dumps(
            {
                "images": [
                    {"id": 1, "file_name": "a.jpg", "width": 90, "height": 100},
                    {"id": 2, "file_name": "b.jpg", "width": 90, "height": 100},
                ],
                "categories": [{"id": 1, "name": "hand"}],
                "annotations": [
                    {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 9]},
                    {"id": 6, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9]},
                ],
            }
        )
    )
    assert found(check_dataset(read_raw(coco))) == [
        (Fault.MALFORMED, "coco.json annotation 6: no image has the id 9"),
        (Fault.WRONG_SIZE, "a.jpg annotated as 90x100, but is 100x90"),
        (Fault.NO_AREA, "coco.json: annotation 5 left 0, top 0, right 0, bottom 0.09"),
        (Fault.UNUSABLE, "a.jpg none of 1 objects can be used"),
        (Fault.MISSING_IMAGE, "b.jpg No such file or directory"),
    ]
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>")
    ((fault, text),) = found(check_dataset(read_raw(tmp_path)))
    assert fault == Fault.MALFORMED
    assert text.startswith("a.xml not well-formed XML")


def test_a_clean_copy_has_no_findings_and_the_original_stays(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    add(root, "a.jpg", "0 0.9 0.5 0.5 0.2\n0 0.5 0.5 0 0\n7 0.5 0.5 0.1 0.1\n" + GOOD * 2)
    add(root, "nonsense.jpg", f"{GOOD}nonsense\n")
    add(root, "unknown.jpg", "7 0.5 0.5 0.1 0.1\n")
    add(root, "x/same.jpg")
    add(root, "y/same.png")
    add(root, "broken.jpg").write_bytes(b"")
    add(root, "unlabeled.jpg", None)
    add(root, "test.jpg", GOOD, split="test")
    (root / "obj.names").write_text("hand\nfoot\n")
    before = snapshot(root)
    write_clean_copy(check_dataset(read_raw(root)), tmp_path / "clean", "raw")
    assert snapshot(root) == before
    for source in (tmp_path / "clean", tmp_path / "clean" / "raw.data"):
        again = check_dataset(read_raw(source))
        assert again.findings == ()
        assert again.names == ("hand", "foot")
        assert read_dataset(source, classes=2).object_count == 1
        training = read_dataset(source, classes=2, split="train")
        assert training.unlabeled == 0
        assert sorted(image.path.name for image in training.images) == [
            "a.jpg", "same-2.png", "same.jpg", "unlabeled.jpg",
        ]  # fmt: skip
        assert training.object_count == 4
    first = (tmp_path / "clean/labels/train/a.txt").read_text()
    assert first == "0 0.825000 0.500000 0.350000 0.200000\n0 0.500000 0.500000 0.500000 0.500000\n"
    copied = tmp_path / "clean/images/train/a.jpg"
    assert copied.read_bytes() == (root / "images/train/a.jpg").read_bytes()


def test_nothing_usable_writes_nothing(tmp_path: Path) -> None:
    add(tmp_path / "raw", "a.jpg").write_bytes(b"")
    check = check_dataset(read_raw(tmp_path / "raw"))
    with pytest.raises(DatasetError, match="no image can be used"):
        write_clean_copy(check, tmp_path / "clean", "raw")
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("layout", ["images/{}", "{}/images", "{}"])
def test_layouts_and_their_splits(layout: str, tmp_path: Path) -> None:
    for split in ("train", "dev"):
        image = tmp_path / layout.format(split) / "a.jpg"
        write_image(image)
        image.with_suffix(".txt").write_text(GOOD)
    raw = read_raw(tmp_path)
    assert {split: len(images) for split, images in raw.splits.items()} == {"train": 1, "dev": 1}


def test_a_folder_without_splits_and_without_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images found"):
        read_raw(tmp_path)
    with pytest.raises(DatasetError, match=r"neither a folder, nor a data\.yaml, darknet \.data"):
        read_raw(tmp_path / "gone")
    write_image(tmp_path / "a.jpg")
    assert list(read_raw(tmp_path).splits) == ["all"]
