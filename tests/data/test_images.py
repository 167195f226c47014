from pathlib import Path

import cv2
import numpy as np
import pytest

from yoloprune.data.images import (
    in_channels,
    list_images,
    read_image,
    write_image,
)
from yoloprune.errors import DatasetError


def random_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def save(path: Path, height: int = 6, width: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, random_image(height, width))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_an_image_is_read_as_it_was_written(suffix: str, tmp_path: Path) -> None:
    image = random_image(12, 17)
    path = tmp_path / f"an image{suffix}"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)
    assert list(tmp_path.iterdir()) == [path]


def test_a_gray_image_gets_three_channels(tmp_path: Path) -> None:
    gray = random_image(5, 6)[:, :, 0]
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    assert np.array_equal(read_image(tmp_path / "gray.png"), np.stack([gray] * 3, axis=2))


EXIF_ORIENTATION_6 = (
    b"\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01"
    b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
)


COLORS = cv2.resize(random_image(4, 6), (60, 40))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize("image", [COLORS, COLORS[:, :, 0], np.dstack((COLORS, COLORS[:, :, 1]))])
def test_gray_is_what_opencv_and_so_darknet_reads(
    suffix: str, image: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"image{suffix}"
    assert cv2.imwrite(str(path), image)
    found = read_image(path, 1)
    assert found.shape == (40, 60, 1)
    assert np.array_equal(found[:, :, 0], cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_gray_of_16_bits_and_of_a_turned_photo(tmp_path: Path) -> None:
    deep, turned = tmp_path / "deep.png", tmp_path / "turned.jpg"
    cv2.imwrite(str(deep), COLORS.astype(np.uint16) * 251)
    data = cv2.imencode(".jpg", COLORS)[1].tobytes()
    turned.write_bytes(data[:2] + EXIF_ORIENTATION_6 + data[2:])
    assert read_image(turned, 1).shape == (60, 40, 1)
    for path in (deep, turned):
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(read_image(path, 1)[:, :, 0], expected)


def test_colors_become_gray_by_their_luma() -> None:
    colors = random_image(20, 30)
    gray = in_channels(colors, 1)
    assert gray.shape == (20, 30, 1)
    assert np.abs(gray[:, :, 0] - colors @ [0.299, 0.587, 0.114]).max() <= 1
    assert in_channels(colors, 3) is colors
    assert np.array_equal(in_channels(gray, 3), np.repeat(gray, 3, axis=2))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_what_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.png: not an image"):
        read_image(path)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.png: cannot read the image: No such file"):
        read_image(tmp_path / "gone.png")


def test_a_folder_lists_the_images_below_it(tmp_path: Path) -> None:
    expected = [save(tmp_path / "a.jpg"), save(tmp_path / "b" / "c.PNG")]
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    assert list_images(tmp_path) == tuple(expected)
    assert list_images(expected[0]) == (expected[0],)


def test_a_list_file_starts_from_here_or_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "here" / "a.png")
    save(tmp_path / "there" / "b.png")
    absolute = save(tmp_path / "c.png")
    names = tmp_path / "there" / "list.txt"
    names.write_text(f"a.png\n\nb.png\n{absolute}\na.png\n")
    monkeypatch.chdir(tmp_path / "here")
    assert list_images(names) == (Path("a.png"), tmp_path / "there" / "b.png", absolute)


def test_sources_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images found"):
        list_images(tmp_path)
    with pytest.raises(DatasetError, match="no such file or folder"):
        list_images(tmp_path / "gone")
    listed = tmp_path / "list.txt"
    listed.write_text("\n\ngone.jpg\n")
    with pytest.raises(DatasetError, match=r"list\.txt:3: image gone\.jpg not found"):
        list_images(listed)
    listed.write_bytes(b"\x00\x81")
    with pytest.raises(DatasetError, match=r"list\.txt:1: .* names no image"):
        list_images(listed)
    listed.write_text("images/" * 20_000 + "a.png\n")
    with pytest.raises(DatasetError, match=r"list\.txt:1: .* names no image"):
        list_images(listed)
    other = tmp_path / "archive.zip"
    other.write_bytes(b"")
    with pytest.raises(DatasetError, match="neither an image"):
        list_images(other)
