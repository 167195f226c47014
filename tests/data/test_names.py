from pathlib import Path

import pytest

from yoloprune.data.names import fitting_names, names_of_data, write_names
from yoloprune.data.text_files import read_names
from yoloprune.errors import DatasetError


def test_a_network_s_own_names_come_before_others(tmp_path: Path) -> None:
    assert fitting_names(tmp_path, 2, "yolo") is None
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert fitting_names(tmp_path, 2, "yolo") == ("cat", "dog")
    (tmp_path / "yolo.names").write_text("left\nright\n")
    assert fitting_names(tmp_path, 2, "yolo") == ("left", "right")
    assert fitting_names(tmp_path, 2, "other") is None  # Two that contradict each other.
    assert fitting_names(tmp_path, 3, "yolo") is None


def test_of_several_lists_the_one_that_fits_counts(tmp_path: Path) -> None:
    (tmp_path / "coco.names").write_text("a\nb\nc\n")
    (tmp_path / "voc.names").write_text("a\nb\n")
    (tmp_path / "copy.names").write_text("a\nb\n")
    (tmp_path / "yolo.names").write_bytes(b"\xff\xfe")
    assert fitting_names(tmp_path, 2, "yolo") == ("a", "b")


def test_names_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="no names"):
        names_of_data(tmp_path, 2)
    (tmp_path / "two.names").write_text("a\nb\n")
    assert names_of_data(tmp_path, 2) == ("a", "b")
    with pytest.raises(DatasetError, match="2 classes, but the network has 80"):
        names_of_data(tmp_path, 80)


def test_names_are_written_if_somebody_chose_them_and_they_can_be_read_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "best.names"
    write_names(path, ("class 0", "class 1"))
    assert not path.exists()
    for names, written in (
        (("left hand", "\u624b"), ("left hand", "\u624b")),
        (("a\nb", " c "), ("a b", "c")),
        (("", "c"), ("_", "c")),
    ):
        write_names(path, names)
        assert read_names(path, 2) == written
