import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tests.data.originals import (
    DIAMOND,
    SQUARE,
    TEST,
    TRAINING,
    VALIDATION,
    add,
    small_original,
    write_image,
    write_mat,
)
from tests.reporters import Heard
from yoloprune.data.images import read_image
from yoloprune.data.read import read_dataset
from yoloprune.data.vgg_hand import (
    convert_hand_dataset,
    opened_original,
    read_hand_corners,
    upright_boxes,
)
from yoloprune.errors import DatasetError, UsageError


def label_lines(path: Path) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in path.read_text().splitlines()]


def test_corners_are_read_as_x_and_y_from_0(tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", [SQUARE, DIAMOND])
    corners = read_hand_corners(tmp_path / "a.mat")
    assert corners[0].tolist() == [[20, 10], [60, 10], [60, 30], [20, 30]]
    assert upright_boxes(corners).tolist() == [[20, 10, 60, 30], [10, 0, 90, 80]]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_number_of_hands(count: int, tmp_path: Path) -> None:
    write_mat(tmp_path / "a.mat", [SQUARE] * count)
    assert read_hand_corners(tmp_path / "a.mat").shape == (count, 4, 2)


def test_other_forms_of_no_hands_and_more_fields(tmp_path: Path) -> None:
    savemat(tmp_path / "empty.mat", {"boxes": np.zeros((0, 0))})
    assert read_hand_corners(tmp_path / "empty.mat").shape == (0, 4, 2)
    write_mat(tmp_path / "more.mat", [SQUARE], side="L", e=np.eye(2))
    assert read_hand_corners(tmp_path / "more.mat")[0, 0].tolist() == [20, 10]
    column = {"boxes": [{key: np.array([[2.0], [3.0]]) for key in "abcd"}]}
    savemat(tmp_path / "column.mat", column)
    assert read_hand_corners(tmp_path / "column.mat")[0, 0].tolist() == [2, 1]


def test_a_small_original_becomes_yolo_text(tmp_path: Path) -> None:
    out = tmp_path / "hands"
    conversion = convert_hand_dataset(small_original(tmp_path / "raw"), out)
    assert dict(conversion.images) == {"train": 3, "test": 1}
    assert dict(conversion.hands) == {"train": 3, "test": 1}
    assert (conversion.negatives, conversion.clipped, conversion.dropped) == (1, 0, 0)
    assert conversion.skipped == conversion.absent == ()
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {
        "hand.data", "hand.names", "train.txt", "test.txt",
        "images/train/training_a.jpg", "images/train/training_b.jpg",
        "images/train/validation_a.jpg", "images/test/test_a.jpg",
        "labels/train/training_a.txt", "labels/train/training_b.txt",
        "labels/train/validation_a.txt", "labels/test/test_a.txt",
    }  # fmt: skip
    # 100x90 pixels: boxes 20..60 x 10..30 and 10..90 x 0..80.
    square, diamond = label_lines(out / "labels/train/training_a.txt")
    assert square == pytest.approx([0, 0.4, 20 / 90, 0.4, 20 / 90], abs=1e-6)
    assert diamond == pytest.approx([0, 0.5, 40 / 90, 0.8, 80 / 90], abs=1e-6)
    assert (out / "labels/train/training_b.txt").read_text() == ""
    original = tmp_path / "raw" / VALIDATION / "images/a.jpg"
    assert (out / "images/train/validation_a.jpg").read_bytes() == original.read_bytes()


def test_our_reader_takes_the_result(tmp_path: Path) -> None:
    out = tmp_path / "hands"
    convert_hand_dataset(small_original(tmp_path / "raw"), out)
    for source in (out, out / "hand.data"):
        assert read_dataset(source, classes=1).object_count == 1
        training = read_dataset(source, classes=1, split="train")
        assert [len(image.labels) for image in training.images] == [2, 0, 1]
        assert (training.names, training.unlabeled) == (("hand",), 0)
    assert (out / "train.txt").read_text().splitlines()[0] == "images/train/training_a.jpg"


def test_boxes_are_cut_at_the_border_or_dropped(tmp_path: Path) -> None:
    leaving = ((-9, -9), (-9, 51), (46, 51), (46, -9))
    outside = ((11, 201), (11, 261), (31, 261), (31, 201))
    flat = ((11, 21), (11, 21), (31, 21), (31, 21))
    add(tmp_path / "raw", TRAINING, "a", [leaving, outside, flat, SQUARE])
    conversion = convert_hand_dataset(tmp_path / "raw", tmp_path / "out")
    assert (conversion.clipped, conversion.dropped) == (1, 2)
    lines = label_lines(tmp_path / "out/labels/train/training_a.txt")
    # Cut to 0..50 x 0..45 of 100x90 pixels.
    assert lines[0] == pytest.approx([0, 0.25, 0.25, 0.5, 0.5], abs=1e-6)
    assert len(lines) == 2


def test_what_cannot_be_used_is_skipped_and_named(tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    images, annotations = raw / TRAINING / "images", raw / TRAINING / "annotations"
    write_mat(annotations / "no_image.mat", [SQUARE])
    write_image(images / "no_mat.jpg")
    for name in ("empty", "noise", "cut", "bad_mat"):
        add(raw, TRAINING, name, [SQUARE])
    long = "x" * 250
    add(raw, TRAINING, long, [SQUARE])
    (images / "empty.jpg").write_bytes(b"")
    (images / "noise.jpg").write_bytes(b"no image at all")
    whole = (images / "cut.jpg").read_bytes()
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (annotations / "bad_mat.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    conversion = convert_hand_dataset(raw, tmp_path / "out")
    assert conversion.images["train"] == 3
    names = sorted(Path(line.split(":")[0]).name for line in conversion.skipped)
    assert names == [
        "bad_mat.mat",
        "cut.jpg",
        "empty.jpg",
        "no_image.mat",
        "no_mat.jpg",
        "noise.jpg",
        f"{long}.jpg",
    ]
    assert conversion.skipped[-1].endswith("the name is too long to put training_ before it")
    assert not list((tmp_path / "out").rglob("*cut*"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"box": np.eye(2)}, "has no variable 'boxes'"),
        ({"boxes": np.eye(2)}, "is not a cell array"),
        ({"boxes": [{"a": [1, 2], "b": [1, 2], "c": [1, 2]}]}, "corner d is not two numbers"),
        ({"boxes": [{key: [1, 2, 3] for key in "abcd"}]}, "corner a is not two numbers"),
        ({"boxes": [{key: [1, np.nan] for key in "abcd"}]}, r"corner a is \(1, nan\)"),
        ({"boxes": [dict.fromkeys("abcd", "text")]}, "corner a is not two numbers"),
        ({"boxes": [np.eye(2)]}, "does not hold one struct"),
    ],
)
def test_other_structures_are_refused(
    content: dict[str, object], problem: str, tmp_path: Path
) -> None:
    cells = content.get("boxes")
    if isinstance(cells, list):
        array = np.empty((1, 1), object)
        array[0, 0] = cells[0]
        content = {"boxes": array}
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(DatasetError, match=problem) as caught:
        read_hand_corners(tmp_path / "a.mat")
    assert str(caught.value).startswith(f"{tmp_path / 'a.mat'}: ")


def test_the_picture_is_turned_as_its_corners_are(tmp_path: Path) -> None:
    # 100x90 as stored; orientation 6 has viewers show it as 90x100.
    add(tmp_path / "raw", TRAINING, "a", [SQUARE])
    image = tmp_path / "raw" / TRAINING / "images/a.jpg"
    stored = image.read_bytes()
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    image.write_bytes(stored[:2] + exif + stored[2:])
    assert read_image(image).shape == (100, 90, 3)
    convert_hand_dataset(tmp_path / "raw", tmp_path / "out")
    written = tmp_path / "out/images/train/training_a.jpg"
    expected = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(read_image(written), expected[:, :, ::-1])
    (line,) = label_lines(tmp_path / "out/labels/train/training_a.txt")
    assert line[1:] == pytest.approx([0.4, 20 / 90, 0.4, 20 / 90], abs=1e-6)


def test_parts_that_are_not_there_are_named(tmp_path: Path) -> None:
    add(tmp_path / "raw", TEST, "a", [SQUARE])
    conversion = convert_hand_dataset(tmp_path / "raw", tmp_path / "out")
    assert conversion.absent == ("training", "validation")
    assert "train" not in (tmp_path / "out/hand.data").read_text()
    assert read_dataset(tmp_path / "out/hand.data", classes=1).object_count == 1


def test_two_images_of_one_name_cannot_share_an_annotation(tmp_path: Path) -> None:
    add(tmp_path / "raw", TRAINING, "a", [SQUARE])
    write_image(tmp_path / "raw" / TRAINING / "images/a.png")
    conversion = convert_hand_dataset(tmp_path / "raw", tmp_path / "out")
    assert conversion.images["train"] == 1
    assert "a.png: there is another image of this name" in conversion.skipped[0]


def test_the_folder_may_be_given_from_above_or_as_it_is(tmp_path: Path) -> None:
    root = small_original(tmp_path / "hand_dataset")
    for source in (tmp_path, root):
        with opened_original(source, tmp_path) as found:
            assert found == root
    with (
        pytest.raises(DatasetError, match="not the original hand_dataset: there is no training"),
        opened_original(root / TRAINING, tmp_path),
    ):
        pass
    with pytest.raises(DatasetError, match="no such file"), opened_original(root / "x", tmp_path):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatasetError])
def test_nothing_is_left_half_written(error: type[BaseException], tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    seen: list[Path] = []

    def stop_after_one(image: Path) -> None:
        if seen:
            raise error
        seen.append(image)

    with pytest.raises(error):
        convert_hand_dataset(raw, tmp_path / "out", reporter=Heard(on_item=stop_after_one))
    assert list(tmp_path.iterdir()) == [raw]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    convert_hand_dataset(raw, tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(UsageError, match="the folder is not empty"):
        convert_hand_dataset(raw, tmp_path / "out")
    assert sorted((tmp_path / "out").rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a file of this name is in the way"):
        convert_hand_dataset(raw, tmp_path / "file")
