"""Whether an image file is whole, and how large."""

import struct
from pathlib import Path

from yoloprune.data.image_header import START_OF_SCAN, jpeg_segments
from yoloprune.data.images import decode_image
from yoloprune.errors import DatasetError

_END_OF_IMAGE, _EXIF = b"\xff\xd9", b"Exif\0\0"
_APPLICATION_1 = 0xE1
_ORIENTATION = 0x0112
_SHORT = {b"II": "<H", b"MM": ">H"}
"""How a 16-bit number is written, by the two letters at the start of the EXIF data."""


def image_size(data: bytes, path: Path) -> tuple[int, int]:
    """Decode an image and return its (height, width), as it is shown.

    Raises `DatasetError` if it cannot be decoded or, unlike OpenCV, if a JPEG ends too early.
    """
    if is_cut_jpeg(data):
        raise DatasetError(f"{path}: the JPEG file is cut off before its end")
    image = decode_image(data, path)
    return image.shape[0], image.shape[1]


def is_cut_jpeg(data: bytes) -> bool:
    """Whether this is a JPEG without an end: decoders fill what is missing with gray."""
    for marker, start, _ in jpeg_segments(data):
        if marker == START_OF_SCAN:
            # The end's mark cannot occur within a scan; thumbnails lie in segments before.
            return data.find(_END_OF_IMAGE, start) < 0
    return False


def unturned(data: bytes) -> bytes:
    """A JPEG file with its EXIF orientation set to "as stored"; other files as they are."""
    if (found := _orientation(data)) is None:
        return data
    offset, short = found
    return data[:offset] + struct.pack(short, 1) + data[offset + 2 :]


def _orientation(data: bytes) -> tuple[int, str] | None:
    """Offset of the value of the EXIF orientation, and how it is written, if there is one."""
    for marker, start, end in jpeg_segments(data):
        if marker == _APPLICATION_1 and data.startswith(_EXIF, start):
            try:
                return _find_orientation(data[:end], start + len(_EXIF))
            except struct.error:
                return None
    return None


def _find_orientation(data: bytes, start: int) -> tuple[int, str] | None:
    """Search the TIFF header at `start` and the directory that it names."""
    if (short := _SHORT.get(data[start : start + 2])) is None:
        return None
    (directory,) = struct.unpack_from(short[0] + "I", data, start + 4)
    (entries,) = struct.unpack_from(short, data, start + directory)
    for entry in range(entries):
        place = start + directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(short[0] + "HH", data, place)
        if (tag, kind) == (_ORIENTATION, 3) and place + 10 <= len(data):
            return place + 8, short
    return None
