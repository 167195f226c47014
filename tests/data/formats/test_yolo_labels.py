from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.files import label, touch
from yoloprune.data.formats.yolo_labels import label_path, read_labeled, write_labels
from yoloprune.data.read import read_objects
from yoloprune.errors import DatasetError


def test_boxes_and_classes_are_read(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "1 0.5 0.25 1 0.5\n\n  0\t0.1 0.2 0.05 0.1  \n")
    raw = read_labeled(tmp_path / "a.jpg")
    boxes, labels = raw.boxes, raw.labels
    assert boxes[0].tolist() == [0, 0, 1, 0.5]
    assert boxes[1] == pytest.approx([0.075, 0.15, 0.125, 0.25])
    assert labels.tolist() == [1, 0]
    assert (boxes.dtype, labels.dtype) == (np.float64, np.int64)


def test_an_empty_file_has_no_objects(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "")
    raw = read_labeled(tmp_path / "a.jpg")
    assert (raw.boxes.shape, raw.labels.shape) == ((0, 4), (0,))
    assert raw.source == tmp_path / "a.txt"


def test_boxes_that_rounding_pushed_out_are_cut(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "0 0.0996 0.9 0.2 0.201\n")
    labeled = read_objects(tmp_path / "a.jpg", 1)
    assert labeled is not None
    (sides,) = labeled.boxes.tolist()
    assert sides == pytest.approx((0, 0.7995, 0.1996, 1))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 0.5", "expected 5 columns (class cx cy width height), found 4"),
        ("0 0.5 0.5 0.5 0.5 0.9", "expected 5 columns (class cx cy width height), found 6"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "expected 5 columns (class cx cy width height) or a class and"),
        ("hand 0.5 0.5 0.5 0.5", "'hand 0.5 0.5 0.5 0.5' is not a class and numbers"),
        ("0.5 0.5 0.5 0.5 0.5", "class '0.5' is not an integer"),
        ("1_0 0.5 0.5 0.5 0.5", "'1_0 0.5 0.5 0.5 0.5' is not a class and numbers"),
        ("\u0661 0.5 0.5 0.5 0.5", "'\u0661 0.5 0.5 0.5 0.5' is not a class and numbers"),
        ("0 0.5 O.5 0.5 0.5", "'0 0.5 O.5 0.5 0.5' is not a class and numbers"),
        ("0 nan 0.5 0.5 0.5", "'0 nan 0.5 0.5 0.5' is not finite"),
        ("0 0.5 0.5 1e999 0.5", "'0 0.5 0.5 1e999 0.5' is not finite"),
        ("1e300 0.5 0.5 0.5 0.5", "class '1e300' is not an integer"),
        ("0 0.5 0.5 1e300 0.5", "'0 0.5 0.5 1e300 0.5' is out of range"),
    ],
)
def test_a_malformed_line_is_named(line: str, problem: str, tmp_path: Path) -> None:
    label(tmp_path, "a.txt", f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_objects(tmp_path / "a.jpg", 2)
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}:2: {problem}")


@pytest.mark.parametrize("number", ["-1", "2"])
def test_a_class_that_the_network_lacks_is_named(number: str, tmp_path: Path) -> None:
    label(tmp_path, "a.txt", f"{number} 0.5 0.5 0.5 0.5\n")
    with pytest.raises(DatasetError, match=rf"a\.txt:1: class {number} is not one of the 2"):
        read_objects(tmp_path / "a.jpg", 2)


@pytest.mark.parametrize("number", ["0.0", "0e+00", "0.000000000000000000e+00", "-0", "00"])
def test_classes_as_numpy_writes_them(number: str, tmp_path: Path) -> None:
    label(tmp_path, "a.txt", f"{number} 0.5 0.5 0.5 0.5\n")
    assert read_labeled(tmp_path / "a.jpg").labels.tolist() == [0]


@pytest.mark.parametrize(
    "points",
    ["0.2 0.4 0.6 0.4 0.4 0.8", "0.2 0.4 0.6 0.4 0.6 0.8 0.2 0.8", ".4 .8 .2 .6 .6 .4 .3 .5"],
)
def test_polygons_become_their_bounding_boxes(points: str, tmp_path: Path) -> None:
    label(tmp_path, "a.txt", f"1 {points}\n0 0.5 0.5 0.1 0.1\n")
    raw = read_labeled(tmp_path / "a.jpg")
    assert raw.boxes[0].tolist() == [0.2, 0.4, 0.6, 0.8]
    assert (raw.labels.tolist(), raw.polygons, raw.problems) == ([1, 0], 1, ())


def test_points_of_a_pose_are_passed_over(tmp_path: Path) -> None:
    label(tmp_path, "a.txt", "0 0.5 0.5 0.2 0.2 0.1 0.1 2 0.3 0.3 1\n")
    raw = read_labeled(tmp_path / "a.jpg", keypoints=True)
    assert raw.boxes[0] == pytest.approx([0.4, 0.4, 0.6, 0.6])
    assert raw.polygons == 0


def test_label_files_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0 0.5\0\x80\x81")
    with pytest.raises(DatasetError, match=r"a\.txt: not a text file"):
        read_objects(tmp_path / "a.jpg", 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "ascii"])
def test_encodings(encoding: str, tmp_path: Path) -> None:
    text = "0 0.5 0.5 0.5 0.5\r\n"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    raw = read_labeled(tmp_path / "a.jpg")
    # UTF-16 without a mark is not guessed at; but it is no image without objects either.
    assert (len(raw.labels), len(raw.problems)) == ((0, 1) if encoding == "utf-16-le" else (1, 0))


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("VOC2007/JPEGImages/a.jpg", "VOC2007/labels/a.txt"),
        ("train_images/a.jpg", "train_labels/a.txt"),
        ("images/JPEGImages/a.jpg", "images/labels/a.txt"),
        ("set/images/train2017/a.jpg", "set/labels/train2017/a.txt"),
        ("raw/a.jpg", "labels/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_where_darknet_looks(image: str, labels: str, tmp_path: Path) -> None:
    # src/utils.c `replace_image_to_label`, and src/data.c of the first darknet.
    label(tmp_path, labels)
    touch(tmp_path, image)
    assert label_path(tmp_path / image) == tmp_path / labels


def test_labels_are_written_as_they_are_read(tmp_path: Path) -> None:
    boxes, labels = np.array([[0.25, 0.125, 0.75, 0.5]]), np.array([3])
    write_labels(tmp_path / "a.txt", boxes, labels)
    # Darknet's files have the center and the size.
    assert (tmp_path / "a.txt").read_text() == "3 0.500000 0.312500 0.500000 0.375000\n"
    found = read_objects(tmp_path / "a.jpg", 4)
    assert found is not None
    assert (found.boxes.tolist(), found.labels.tolist()) == (boxes.tolist(), [3])
    assert read_objects(tmp_path / "b.jpg", 4) is None
