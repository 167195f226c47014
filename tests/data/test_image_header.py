"""What OpenCV decodes is as large as the header said; what would be too large is not decoded."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import bombs
from yoloprune.data import images
from yoloprune.data.image_header import read_claim
from yoloprune.data.images import MOST_BYTES, decode_image
from yoloprune.errors import DatasetError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    PICTURE.convert(mode).save(file, kind, **options)
    return file.getvalue()


FILES = {
    "png": saved("PNG"), "palette": saved("PNG", "P"), "animated": saved(
        "PNG", save_all=True, append_images=[PICTURE]),
    "jpeg": saved("JPEG"), "gray": saved("JPEG", "L"),
    "progressive": saved("JPEG", progressive=True, subsampling=2),
    "gif": saved("GIF"), "bmp": saved("BMP"), "one bit": saved("BMP", "1"),
    "webp": saved("WEBP"), "lossless": saved("WEBP", "RGBA", lossless=True),
    "film": saved("WEBP", save_all=True, append_images=[PICTURE]),
    "tiff": saved("TIFF"), "packed": saved("TIFF", compression="tiff_lzw"),
    "big": saved("TIFF", big_tiff=True),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_header_says_what_opencv_decodes(name: str) -> None:
    claim = read_claim(FILES[name])
    assert claim is not None
    assert (claim.height, claim.width) == (20, 30)
    assert claim.decoded == 4 * 20 * 30
    assert decode_image(FILES[name], Path("a")).shape == (20, 30, 3)


def test_what_decoders_hold_beside_the_pixels_counts() -> None:
    for data, pixel in (
        (saved("JPEG", progressive=True, subsampling=0), 6),
        (saved("JPEG", "CMYK", progressive=True, subsampling=0), 8),
        (cv2.imencode(".tiff", np.zeros((20, 30, 3)))[1].tobytes(), 24),
    ):
        claim = read_claim(data)
        assert claim is not None and claim.decoded == pixel * 20 * 30


@pytest.mark.parametrize("name", FILES)
def test_damaged_headers_raise_nothing_else(name: str) -> None:
    random = np.random.default_rng(1)
    whole = FILES[name]
    seen = set()
    for _ in range(150):
        data = bytearray(whole)
        for place in random.integers(0, min(len(whole), 120), 3):
            data[place] = random.integers(256)
        data = data[: random.integers(1, len(data) + 1)] if random.random() < 0.2 else data
        claim = read_claim(bytes(data))
        if claim is not None and 1 << 20 < claim.decoded < MOST_BYTES:
            continue  # It would be decoded, which takes time.
        try:
            image = decode_image(bytes(data), Path("a"))
        except DatasetError as error:
            assert str(error).startswith("a: ") and "\n" not in str(error)
            seen.add("refused")
            continue
        # EXIF may turn it.
        assert claim is not None and {*image.shape[:2]} == {claim.height, claim.width}
    assert "refused" in seen


def with_size(name: str, width: int, height: int) -> bytes:
    """A file of which only the header says that it is so large."""
    data = bytearray(FILES[name])
    match name:
        case "png":
            struct.pack_into(">II", data, 16, width, height)
        case "bmp":
            struct.pack_into("<ii", data, 18, width, -height)
        case "gif":
            struct.pack_into("<HH", data, 6, width, height)
        case "jpeg":
            struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
        case "webp":
            struct.pack_into("<HH", data, 26, width, height)
        case "tiff":
            for tag, value in ((256, width), (257, height)):
                place = data.index(struct.pack("<H", tag))
                struct.pack_into("<HHII", data, place, tag, 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize("name", ["png", "bmp", "gif", "jpeg", "webp", "tiff"])
def test_a_picture_that_would_fill_the_memory_is_refused(name: str) -> None:
    data = with_size(name, 16_000, 15_000)
    with (
        bombs.at_most(10),
        pytest.raises(
            DatasetError, match=r"x\.png: an image of 16000x15000 pixels \(915 MiB decoded"
        ),
    ):
        decode_image(data, Path("x.png"))


def test_a_line_of_pixels_is_refused() -> None:
    assert decode_image(with_size("png", 30, 20), Path("x.png")).shape == (20, 30, 3)
    with pytest.raises(DatasetError, match="1x1000000 pixels"):
        decode_image(with_size("png", 1, 1_000_000), Path("x.png"))


def test_a_bomb_takes_no_memory() -> None:
    bomb = bombs.png(20_000)
    assert len(bomb) < 1 << 21
    with bombs.at_most(10), pytest.raises(DatasetError, match="20000x20000 pixels"):
        decode_image(bomb, Path("a.png"))


def test_a_picture_takes_thrice_what_is_allowed_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MOST_BYTES", 1 << 24)
    with bombs.at_most(40):
        assert decode_image(bombs.png(2048), Path("a.png")).shape == (2048, 2048, 3)
    with pytest.raises(DatasetError, match="2049x2049 pixels"):
        decode_image(bombs.png(2049), Path("a.png"))


def test_a_part_that_claims_to_be_longer_than_the_file_is_refused() -> None:
    data = bytearray(FILES["png"])
    struct.pack_into(">I", data, data.index(b"IDAT") - 4, 2_000_000_000)
    with bombs.at_most(10), pytest.raises(DatasetError, match="not an image that can be decoded"):
        decode_image(bytes(data), Path("a.png"))


@pytest.mark.parametrize("data", [b"", b"P6 9 9 255\n", b"not an image", b"\0" * 100])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match="not an image that can be decoded"):
        decode_image(data, Path("a.png"))
