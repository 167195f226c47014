from pathlib import Path

import pytest

from yoloprune.data.text_files import (
    find_named,
    listed_images,
    names_in,
    read_bytes,
    read_image_list,
    read_lines,
    read_names,
    shown_names,
)
from yoloprune.errors import DatasetError


def test_a_names_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.names: cannot read the file"):
        read_names(tmp_path / "gone.names", 1)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ("Hände\r\nFüße".encode(), ["Hände", "Füße"]),
        (b"\xef\xbb\xbfa\rb\n", ["a", "b", ""]),
        ("手\n足".encode("utf-16"), ["手", "足"]),
        (b"M\xfcnze", ["Münze"]),
        ("a\u2028b\fc".encode(), ["a\u2028b\fc"]),
    ],
)
def test_lines_of_any_encoding(data: bytes, lines: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_lines(tmp_path / "a.txt") == lines


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\0b")
    with pytest.raises(DatasetError, match="not a text file"):
        read_lines(path)
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(DatasetError, match="larger than 1 MiB: assumed damaged"):
        read_bytes(path, most=1 << 20)
    with pytest.raises(DatasetError, match="not a file name"):
        read_bytes(Path("a\0b"))


def test_names_are_lines_that_are_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.names"
    path.write_text("left hand\n\n  foot \n")
    assert read_names(path, 2) == ("left hand", "foot")
    with pytest.raises(DatasetError, match="2 names, but the network has 3 classes"):
        read_names(path, 3)
    assert names_in(tmp_path) == ("left hand", "foot")
    (tmp_path / "b.names").write_text("hand\n")
    with pytest.raises(DatasetError, match=r"several \.names files \(a\.names, b\.names, "):
        names_in(tmp_path)
    path.write_text("x\n" * 10_001)
    with pytest.raises(DatasetError, match="10001 names: assumed damaged"):
        read_names(path)


def test_names_in_a_message() -> None:
    assert [shown_names("abcd"[:count]) for count in (0, 2, 3, 4)] == [
        "none", "a, b", "a, b, c", "a, b, c, ..."
    ]  # fmt: skip


def test_lists_name_images_from_where_they_lie(tmp_path: Path) -> None:
    image = tmp_path / "set" / "images" / "a.jpg"
    image.parent.mkdir(parents=True)
    image.touch()
    path = tmp_path / "set" / "lists" / "train.txt"
    path.parent.mkdir()
    path.write_text("images/a.jpg\n\nimages\\\\a.jpg\n")
    assert read_image_list(path) == (image,)
    # As CVAT names them, wherever they lie.
    assert find_named(tmp_path / "set" / "x.data", "data/images/a.jpg") == image
    path.write_text("images/a.jpg\nimages/gone.jpg\n")
    with pytest.raises(DatasetError, match=r"train\.txt:2: image images/gone\.jpg not found"):
        read_image_list(path)
    assert [found.name for found in listed_images(path)] == ["a.jpg", "gone.jpg"]
    path.write_text("x" * 5000)
    with pytest.raises(DatasetError, match=r"train\.txt:1: 'x+' names no image"):
        read_image_list(path)
