"""What is refused, what is left out, and that all of it is counted."""

import os
from pathlib import Path

import pytest

from tests.data.formats.files import label, touch
from yoloprune.data.dataset import Dataset, Fault
from yoloprune.data.faults import described
from yoloprune.data.read import dataset_images, read_dataset, read_raw
from yoloprune.errors import ClassesError, DatasetError

GOOD = "0 0.5 0.5 0.5 0.5\n"


def add(root: Path, *labels: str | None) -> Path:
    """Images a, b, c, ... with these labels, None for no label file; classes hand and foot."""
    label(root, "d.names", "hand\nfoot\n")
    for name, text in zip("abcdefgh", labels, strict=False):
        touch(root, f"images/train/{name}.jpg")
        if text is not None:
            label(root, f"labels/train/{name}.txt", text)
    return root


def counted(dataset: Dataset) -> dict[Fault, int]:
    return {remark.fault: remark.count for remark in dataset.remarks}


def test_odd_boxes_are_clipped_or_left_out_and_counted(tmp_path: Path) -> None:
    # As darknet's src/data.c fill_truth_detection.
    odd = "0 0.05 0.5 0.2 0.5\n0 0.5 0.5 0 0\n15 0.5 0.5 0.1 0.1\n1 0.5 0.5 0.1 0.1\n"
    dataset = read_dataset(add(tmp_path, odd, GOOD, GOOD), classes=2)
    assert dataset.images[0].boxes[0] == pytest.approx([0, 0.25, 0.15, 0.75])
    assert dataset.images[0].labels.tolist() == [0, 1]
    assert counted(dataset) == {Fault.UNKNOWN_CLASS: 1, Fault.NO_AREA: 1, Fault.OUTSIDE: 1}
    lines = [described(remark) for remark in dataset.remarks]
    assert lines[2] == (
        f"1 boxes leave the image and are clipped (first: {tmp_path}/labels/train/a.txt:1: "
        "left -0.05, top 0.25, right 0.15, bottom 0.75)"
    )


def test_an_image_of_unknown_classes_alone_is_no_background(tmp_path: Path) -> None:
    dataset = read_dataset(add(tmp_path, "2 0.5 0.5 0.1 0.1\n", GOOD, GOOD), classes=2)
    assert [image.path.stem for image in dataset.images] == ["b", "c"]
    assert counted(dataset) == {Fault.UNKNOWN_CLASS: 1, Fault.UNUSABLE: 1}


def test_an_image_whose_boxes_all_lie_outside_is_no_background(tmp_path: Path) -> None:
    dataset = read_dataset(add(tmp_path, "0 200 150 40 50\n", GOOD, GOOD), classes=2)
    assert [image.path.stem for image in dataset.images] == ["b", "c"]
    assert counted(dataset) == {Fault.NO_AREA: 1, Fault.UNUSABLE: 1}


def test_most_objects_must_have_a_class(tmp_path: Path) -> None:
    add(tmp_path, "2 0.5 0.5 0.1 0.1\n3 0.5 0.5 0.1 0.1\n", GOOD)
    with pytest.raises(DatasetError, match=r"class 2 is not one of the 2 .* 2 of 3 objects"):
        read_dataset(tmp_path, classes=2)


def test_without_names_every_class_must_be_the_networks(tmp_path: Path) -> None:
    add(tmp_path, GOOD * 9 + "2 0.5 0.5 0.1 0.1\n")
    (tmp_path / "d.names").unlink()
    assert read_dataset(tmp_path, classes=3).names == ("class 0", "class 1", "class 2")
    with pytest.raises(DatasetError, match=r"a\.txt:10: class 2 is not one of the 2 classes"):
        read_dataset(tmp_path, classes=2)


def test_boxes_in_pixels_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "0 208 208 100 50\n", GOOD, "0 20 20 10 10\n")
    with pytest.raises(DatasetError, match=r"a\.txt:1: 2 of 3 boxes .* \(coordinates are"):
        read_dataset(tmp_path, classes=2)


def test_an_unreadable_annotation_is_refused_or_left_out(tmp_path: Path) -> None:
    add(tmp_path, GOOD, f"{GOOD}0 0.5 0.5 0.5\n", GOOD)
    with pytest.raises(DatasetError) as caught:
        read_dataset(tmp_path, classes=2)
    assert str(caught.value).startswith(f"{tmp_path}/labels/train/b.txt:2: expected 5 columns")
    assert "1 of 3 images" in str(caught.value)
    dataset = read_dataset(tmp_path, classes=2, allow_faulty=True)
    assert [image.path.stem for image in dataset.images] == ["a", "c"]
    assert counted(dataset) == {Fault.MALFORMED: 1}


def test_few_images_may_be_without_labels(tmp_path: Path) -> None:
    dataset = read_dataset(add(tmp_path, GOOD, "", None, None), classes=2)
    assert [len(image.labels) for image in dataset.images] == [1, 0, 0, 0]
    (line,) = [described(remark) for remark in dataset.remarks]
    assert line.startswith("2 images have no label file and are taken to show no objects (first: ")
    assert f"looked for {tmp_path}/labels/train/c.txt or {tmp_path}/images/train/c.txt" in line


def test_more_than_half_without_labels_is_refused_unless_asked_for(tmp_path: Path) -> None:
    add(tmp_path, GOOD, None, None)
    with pytest.raises(DatasetError, match=r"2 of the 3 images have no label .*b\.jpg"):
        read_dataset(tmp_path, classes=2)
    assert len(read_dataset(tmp_path, classes=2, allow_faulty=True).images) == 3
    (tmp_path / "labels/train/a.txt").unlink()
    for allowed in (False, True):
        with pytest.raises(DatasetError, match="none of the 3 images has a label file"):
            read_dataset(tmp_path, classes=2, allow_faulty=allowed)


def test_other_annotations_beside_the_images_are_not_passed_over(tmp_path: Path) -> None:
    add(tmp_path, None, None)
    label(tmp_path, "images/train/a.json", "{}")
    with pytest.raises(DatasetError, match="none of the 2 images has a label file"):
        read_dataset(tmp_path, classes=2)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    add(tmp_path, GOOD)
    label(tmp_path, "train.txt", "images/train/a.jpg\nimages/train/gone.jpg\n")
    label(tmp_path, "x.data", "classes=2\ntrain=train.txt\n")
    with pytest.raises(DatasetError, match=r"x\.data: image .*/images/train/gone\.jpg not found"):
        read_dataset(tmp_path / "x.data", classes=2)
    with pytest.raises(DatasetError, match=r"image .*/images/train/gone\.jpg not found"):
        dataset_images(tmp_path / "x.data")


@pytest.mark.parametrize("name", ["a\0b", "\udcff", "x" * 300])
def test_a_path_that_is_none_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        read_raw(tmp_path / name)


@pytest.mark.parametrize("kind", ["dangling", "circle", "folder", "pipe"])
def test_a_label_that_cannot_be_opened_is_none_that_is_missing(kind: str, tmp_path: Path) -> None:
    add(tmp_path, GOOD, GOOD, GOOD)
    text = tmp_path / "labels/train/b.txt"
    text.unlink()
    if kind == "folder":
        text.mkdir()
    elif kind == "pipe":
        os.mkfifo(text)
    else:
        text.symlink_to(text if kind == "circle" else tmp_path / "gone.txt")
    with pytest.raises(DatasetError, match=r"b\.txt: .*1 of 3 images have faulty annotations"):
        read_dataset(tmp_path, classes=2)
    dataset = read_dataset(tmp_path, classes=2, allow_faulty=True)
    assert [image.path.stem for image in dataset.images] == ["a", "c"]


def test_suffixes_of_labels_count_in_any_case(tmp_path: Path) -> None:
    add(tmp_path, GOOD, GOOD)
    (tmp_path / "labels/train/b.txt").rename(tmp_path / "labels/train/b.TXT")
    assert read_dataset(tmp_path, classes=2).object_count == 2


def test_an_image_that_is_a_broken_link_is_missing(tmp_path: Path) -> None:
    add(tmp_path, GOOD, GOOD)
    (tmp_path / "images/train/b.jpg").unlink()
    (tmp_path / "images/train/b.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DatasetError, match=r"image .*b\.jpg not found"):
        read_dataset(tmp_path, classes=2)


def test_a_split_called_all_keeps_its_images(tmp_path: Path) -> None:
    touch(tmp_path, "images/all/a.jpg", "images/b.jpg")
    label(tmp_path, "labels/all/a.txt")
    label(tmp_path, "labels/b.txt")
    assert read_dataset(tmp_path, classes=1).object_count == 2


@pytest.mark.parametrize("text", [GOOD * 30_000, "0" + " .5 .5" * 30_000])
def test_a_label_file_beyond_all_measure_is_taken_for_damaged(text: str, tmp_path: Path) -> None:
    add(tmp_path, GOOD, text, GOOD)
    with pytest.raises(DatasetError, match=r"b\.txt.* assumed damaged"):
        read_dataset(tmp_path, classes=2)


def test_of_more_classes_than_a_network_has_its_own_are_read(tmp_path: Path) -> None:
    foot = "1 0.25 0.25 0.1 0.1\n"
    data = read_dataset(add(tmp_path, GOOD + foot, GOOD, foot), classes=1, known=("foot",))
    assert data.names == ("foot",)
    # What shows the other class alone shows nothing.
    assert [len(image.labels) for image in data.images] == [1, 0, 1]
    assert all((image.labels == 0).all() for image in data.images)
    assert data.images[0].boxes[0] == pytest.approx([0.2, 0.2, 0.3, 0.3])
    assert counted(data) == {}
    odd = read_dataset(add(tmp_path, foot + "7 0.5 0.5 0.1 0.1\n"), classes=1, known=("foot",))
    assert counted(odd) == {Fault.UNKNOWN_CLASS: 1}


@pytest.mark.parametrize("known", [None, ("nose",), ("class 0",)])
def test_classes_of_other_names_are_still_refused(
    known: tuple[str, ...] | None, tmp_path: Path
) -> None:
    with pytest.raises(ClassesError, match=r"2 classes \(hand, foot\), but the network has 1"):
        read_dataset(add(tmp_path, GOOD), classes=1, known=known)
