"""Where the labels of boxes stand in a picture, so that each can be read."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rectangle: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are just outside."""

_BLOCK = 256


def place_labels(
    boxes: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], picture: tuple[int, int]
) -> list[Rectangle | None]:
    """A place for the label of each box; None where there is no room.

    `sizes` are the labels' (width, height), all of one height; `picture` is the whole's. No label
    leaves the picture or covers another. The first ones choose first: at the edges of their box,
    where they hide least of the other boxes, or else as near to it as there is room.
    """
    placed = np.zeros((0, 4), np.int64)
    outlines = np.array(boxes, np.int64).reshape(-1, 4)
    found: list[Rectangle | None] = []
    too_wide = picture[0] + 1
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True)):
        others = np.delete(outlines, number, axis=0)
        place = _at_edge(box, size, picture, placed, others)
        if place is None and size[0] < too_wide:
            place = _near(box, size, picture, placed)
            if place is None:
                # What found no room once finds none later: a full picture is not searched again.
                too_wide = size[0]
        if place is not None:
            placed = np.vstack([placed, place])
        found.append(place)
    return found


def _at_edge(
    box: Rectangle,
    size: tuple[int, int],
    picture: tuple[int, int],
    placed: NDArray[np.int64],
    others: NDArray[np.int64],
) -> Rectangle | None:
    places = np.array(list(_edges(box, size, picture)), np.int64).reshape(-1, 4)
    places = places[_free(places, placed)]
    if not len(places):
        return None
    # Whole objects that vanish behind a label are worst; of equal places the first one is taken.
    hidden = _overlaps(places, others) / np.maximum(_areas(others), 1)
    return _rectangle(places[hidden.sum(axis=1).round(1).argmin()])


def _edges(box: Rectangle, size: tuple[int, int], picture: tuple[int, int]) -> Iterator[Rectangle]:
    """Places at the edges of a box that lie in the picture, the usual ones first."""
    left, top, right, bottom = box
    width, height = size
    above, below = top - height, bottom
    for x, y in (
        (left, above), (left, top), (right - width, above), (left, below), (right - width, top),
        (right - width, below), (left, bottom - height), (right - width, bottom - height),
        (right, top), (left - width, top),
        (right, bottom - height), (left - width, bottom - height),
    ):  # fmt: skip
        # Along an edge a label may slide back into the picture.
        x = min(max(x, 0), picture[0] - width)
        if x >= 0 <= y <= picture[1] - height:
            yield x, y, x + width, y + height


def _near(
    box: Rectangle, size: tuple[int, int], picture: tuple[int, int], placed: NDArray[np.int64]
) -> Rectangle | None:
    """The free place in the picture that is nearest to a box."""
    (width, height), step = size, max(1, size[1] // 2)
    xs = np.arange(0, picture[0] - width + 1, step)
    ys = np.arange(0, picture[1] - height + 1, step)
    corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    places = np.hstack([corners, corners + np.array(size)])
    gaps = np.maximum(box[:2] - places[:, 2:], places[:, :2] - box[2:]).clip(min=0)
    places = places[np.square(gaps).sum(axis=1).argsort(kind="stable")]
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        free = block[_free(block, placed)]
        if len(free):
            return _rectangle(free[0])
    return None


def _free(places: NDArray[np.int64], placed: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(~_overlaps(places, placed).any(axis=1))


def _overlaps(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, 4), (M, 4) -> (N, M): the area that each two have in common."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.asarray((high - low).clip(min=0).prod(axis=2))


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _rectangle(place: NDArray[np.int64]) -> Rectangle:
    left, top, right, bottom = place.tolist()
    return left, top, right, bottom
