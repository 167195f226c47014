"""Reading and writing images: uint8 (H, W, C); C is 3 for RGB, 1 for gray."""

import os
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from yoloprune.data.image_header import read_claim
from yoloprune.data.text_files import read_image_list
from yoloprune.errors import DatasetError
from yoloprune.files import read_file, write_atomically

Image: TypeAlias = NDArray[np.uint8]
MOST_BYTES = 1 << 28
"""Of an image file, and of its picture in a decoder; while it is read, copies double that."""

MOST_SIDE = 1 << 15
"""Of a picture in pixels: one that is a line would become a square of gigabytes."""

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


_DECODED_AS = {1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}


def read_image(path: Path, channels: int = 3) -> Image:  # -> (H, W, channels)
    """Read an image file as RGB or, with 1 channel, as gray, turned as its EXIF orientation says.

    Gray is what OpenCV's decoder of the format makes of colors, as in darknet: the luma Y of a
    JPEG file, 0.299 R + 0.587 G + 0.114 B of others (darknet without OpenCV: 77, 150, 29 / 256).
    Raises `DatasetError` if the file cannot be read or decoded.
    """
    return decode_image(read_image_file(path), path, channels)


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file; raises `DatasetError` if it cannot be read."""
    try:
        return read_file(path, MOST_BYTES)
    except OSError as error:
        raise DatasetError(f"{path}: cannot read the image: {error.strerror}") from error


def decode_image(data: bytes, path: Path, channels: int = 3) -> Image:  # -> (H, W, channels)
    """Decode the bytes of an image file as `read_image` does.

    Raises `DatasetError` if it cannot be decoded, or is larger than `MOST_BYTES` and `MOST_SIDE`
    allow: that is known before anything is decoded. `path` is for the message.
    """
    if (claim := read_claim(data)) is None:
        raise DatasetError(f"{path}: not an image that can be decoded (damaged or empty)")
    if claim.decoded > MOST_BYTES or max(claim.width, claim.height) > MOST_SIDE:
        raise DatasetError(
            f"{path}: an image of {claim.width}x{claim.height} pixels ({claim.decoded >> 20} MiB "
            f"decoded) is too large: at most {MOST_SIDE} pixels a side and {MOST_BYTES >> 20} MiB"
        )
    # OpenCV says more about a damaged file than fits on one line.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _DECODED_AS[channels])
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(str(error)) from error
        raise DatasetError(f"{path}: cannot decode the image: {error.err}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise DatasetError(f"{path}: not an image that can be decoded (damaged or empty)")
    return with_channel_axis(image if channels == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def in_channels(image: Image, channels: int) -> Image:  # (H, W, 1 or 3) -> (H, W, channels)
    """A decoded image as gray or as RGB: for a file's exact gray values, `read_image` it so."""
    if image.shape[2] == channels:
        return image
    conversion = cv2.COLOR_RGB2GRAY if channels == 1 else cv2.COLOR_GRAY2RGB
    return with_channel_axis(cv2.cvtColor(image, conversion))


def with_channel_axis(image: NDArray[Any]) -> Image:  # (H, W) or (H, W, C) -> (H, W, C)
    """What OpenCV made, with the axis that it leaves out where there is one channel."""
    return np.asarray(image.reshape(*image.shape[:2], -1), np.uint8)


def write_image(path: Path, image: Image) -> None:
    """Write an RGB image in the format of the path's suffix, whole or not at all."""
    encoded, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise DatasetError(f"{path}: cannot encode an image of shape {image.shape}")
    with write_atomically(path) as temporary:
        temporary.write_bytes(data.tobytes())


def list_images(source: Path) -> tuple[Path, ...]:
    """The images of a folder (and those below it), of a .txt list file, or a single image.

    Relative lines of a list start from the working directory or, failing that, from the list's
    folder. Raises `DatasetError` if there are none, or a listed one does not exist.
    """
    if source.is_dir():
        images = images_below(source)
    elif not source.is_file():
        raise DatasetError(f"{source}: no such file or folder")
    elif source.suffix.lower() in IMAGE_SUFFIXES:
        return (source,)
    elif source.suffix.lower() == ".txt":
        images = read_image_list(source)
    else:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DatasetError(f"{source}: neither an image ({known}), nor a folder or .txt list")
    if not images:
        raise DatasetError(f"{source}: no images found")
    return images


def refuse_root(folder: Path) -> None:
    """Raise `DatasetError` for the root of a file system, which would be searched for minutes."""
    place = folder.resolve()
    if place == Path(place.anchor):
        raise DatasetError(f"{folder}: the whole file system, not a folder of images")


def images_below(folder: Path) -> tuple[Path, ...]:
    """All images in a folder and those below it, linked ones included, sorted."""
    refuse_root(folder)
    images: list[Path] = []
    entered: set[tuple[int, int]] = set()
    # Path.rglob follows no links before Python 3.13.
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        status = Path(root).stat()
        if (place := (status.st_dev, status.st_ino)) in entered:
            # A link to a folder above would lead round for ever.
            folders.clear()
            continue
        entered.add(place)
        images += filter(is_image, (Path(root, name) for name in files))
    return tuple(sorted(images))


def is_image(path: Path) -> bool:
    """Whether a path is an image by its suffix, and neither hidden nor a folder.

    A link that leads nowhere is one too: whoever reads it says so.
    """
    visible = not path.name.startswith(".")
    return visible and path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()


def _refuse_folder(error: OSError) -> NoReturn:
    raise DatasetError(f"{error.filename}: cannot read the folder: {error.strerror}") from error
