"""How large an image file says that its picture is, before anything is decoded.

What the decoders themselves believe is read, and of several claims the largest counts. Formats: PNG
(ISO/IEC 15948), JPEG (ITU-T T.81), GIF89a, BMP, WebP (RFC 9649), TIFF 6.0 and BigTIFF.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PNG, _JPEG, _GIFS = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"GIF87a", b"GIF89a")
_TIFFS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
"""Byte order by the first bytes; a plus stands for BigTIFF."""

START_OF_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG that give the size."""

_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length."""

_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 277, 322, 323

LEAST = 4
"""Bytes that a decoder holds for a pixel: colors, and mostly transparency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Size in pixels, and how many bytes a decoder holds for it at once."""

    width: int
    height: int
    decoded: int


def read_claim(data: bytes) -> Claim | None:
    """What the head of an image file claims; None if it is of no known format, or too damaged."""
    try:
        return _read(data)
    except (struct.error, OverflowError):
        return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG up to its scan; of other files none."""
    position = 2 if data.startswith(_JPEG) else len(data)
    while (position := data.find(b"\xff", position)) >= 0 and position + 4 <= len(data):
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker in (0x00, 0xFF) or marker in _BARE:
            position += 1 if marker == 0xFF else 2
            continue
        yield marker, position + 4, position + 2 + length
        if marker == START_OF_SCAN:
            return
        position += 2 + length


def _read(data: bytes) -> Claim | None:
    if data.startswith(_PNG):
        return _png(data)
    if data.startswith(_JPEG):
        return _jpeg(data)
    if data.startswith(_GIFS):
        return _claim(*struct.unpack_from("<HH", data, 6))
    if data.startswith(b"BM"):
        (header,) = struct.unpack_from("<I", data, 14)
        width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
        return _claim(abs(width), abs(height))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in _TIFFS:
        return _tiff(data, _TIFFS[data[:4]], big=b"+" in data[:4])
    return None


def _claim(width: int, height: int, pixel: float = LEAST) -> Claim:
    return Claim(width=width, height=height, decoded=int(width * height * max(pixel, LEAST)))


def _png(data: bytes) -> Claim | None:
    """None also where a part claims to be longer than the file: OpenCV 4.14 makes room for it."""
    position, kind = len(_PNG), b""
    while kind != b"IEND" and position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
    return _claim(*struct.unpack_from(">II", data, 16)) if position <= len(data) else None


def _jpeg(data: bytes) -> Claim | None:
    claims = []
    for marker, start, _ in jpeg_segments(data):
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, start + 1)
            factors = data[start + 7 : start + 6 + 3 * components : 3]
            areas = [(factor >> 4) * (factor & 15) for factor in factors]
            # A progressive one is put together from coefficients of two bytes each.
            held = 2 * sum(areas) / max(*areas, 1, 1) if marker in _PROGRESSIVE else 0
            claims.append(_claim(width, height, held))
    return max(claims, key=lambda claim: claim.decoded, default=None)


def _webp(data: bytes) -> Claim | None:
    match data[12:16]:
        case b"VP8X":
            sides = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
            return _claim(*sides)
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return _claim((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return _claim(width & 0x3FFF, height & 0x3FFF)
    return None


def _tiff(data: bytes, order: str, *, big: bool) -> Claim | None:
    (directory,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + ("Q" if big else "H"), data, directory)
    entry, first = (20, directory + 8) if big else (12, directory + 2)
    found: dict[int, int] = {}
    for place in range(first, min(first + entry * entries, len(data)), entry):
        tag, kind = struct.unpack_from(order + "HH", data, place)
        (count,) = struct.unpack_from(order + ("Q" if big else "I"), data, place + 4)
        if kind in _INTEGERS and _WIDTH <= tag <= _TILE_HEIGHT:
            code = order + _INTEGERS[kind]
            start = place + (12 if big else 8)
            if count * struct.calcsize(code) > (8 if big else 4):
                (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, start)
            (value,) = struct.unpack_from(code, data, start)
            found[tag] = max(value, found.get(tag, 0))
    if _WIDTH not in found or _HEIGHT not in found:
        return None
    pixel = found.get(_SAMPLES, 1) * found.get(_BITS, 1) / 8
    # A tile may be larger than the picture.
    tile = _claim(found.get(_TILE_WIDTH, 0), found.get(_TILE_HEIGHT, 0), pixel).decoded
    whole = _claim(found[_WIDTH], found[_HEIGHT], pixel)
    return Claim(width=whole.width, height=whole.height, decoded=max(whole.decoded, tile))
