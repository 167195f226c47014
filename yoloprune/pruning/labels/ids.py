"""Channel ids, and arrays of them.

An array of ids is broadcastable to the shape of the value that it belongs to: full along axes that
hold channels, 1 along axes along which it is constant. Elements with one id go together.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

_Array = TypeVar("_Array", Ids, Mask)

NONE = 0
"""The id of what belongs to no channel."""


def no_channels(rank: int) -> Ids:
    """Ids of a value that holds no channels along any of so many axes."""
    return np.full((1,) * rank, NONE)


def lean(ids: _Array) -> _Array:
    """The same ids, or mask, with size 1 along every axis along which they are constant."""
    for axis, size in enumerate(ids.shape):
        if size > 1:
            first = ids[(slice(None),) * axis + (slice(1),)]
            if (ids == first).all():
                ids = first
    return ids


def varying(ids: Ids | Mask) -> tuple[int, ...]:
    """The axes along which ids differ."""
    return tuple(axis for axis, size in enumerate(ids.shape) if size > 1)


def aligned(ids: Ids, rank: int) -> Ids:
    """The same ids in front of which axes stand up to a rank, as broadcasting reads them."""
    return ids.reshape((1,) * (rank - ids.ndim) + ids.shape)


def reshaped(ids: Ids, before: Sequence[int], after: Sequence[int]) -> Ids:
    """Ids of a value of the shape `before`, read in memory order in the shape `after`.

    Only runs of axes within which ids differ are written out.
    """
    full: list[int] = []
    result: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        start, target = i, j
        sizes = [1, 1]
        while True:
            if i < len(before) and (sizes[0] <= sizes[1] or j == len(after)):
                sizes[0] *= before[i]
                i += 1
            elif j < len(after):
                sizes[1] *= after[j]
                j += 1
            if sizes[0] == sizes[1] or (i == len(before) and j == len(after)):
                break
        differs = any(size > 1 for size in ids.shape[start:i])
        full += before[start:i] if differs else [1] * (i - start)
        result += after[target:j] if differs else [1] * (j - target)
    return lean(np.broadcast_to(ids, full).reshape(result))


def numbered(shape: Sequence[int], axes: Sequence[int]) -> Ids:
    """A number for each place along some of a value's axes, in memory order, as ids stand there."""
    sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes)


def by_lines(ids: _Array, axis: int) -> _Array:
    """Ids (or a mask) in a table, a row for each line along an axis."""
    return np.moveaxis(ids, axis, -1).reshape(-1, ids.shape[axis])


def cut_axis(mask: Mask, wanted: int | None = None) -> int | None:
    """The axis along which each line of a mask keeps equally many: `wanted`, or else the last.

    None where there is none.
    """
    mask = lean(mask)
    counts = {axis: np.count_nonzero(mask, axis=axis) for axis in varying(mask)}
    axes = [axis for axis, count in counts.items() if (count == count.flat[0]).all()]
    return wanted if wanted in axes else axes[-1] if axes else None


def compacted(array: Ids, mask: Mask, axis: int) -> Ids:
    """Of each line of an array along an axis those entries that a mask keeps, equally many."""
    array, mask = np.broadcast_arrays(array, mask)
    lines = np.moveaxis(mask, axis, -1)
    kept = np.moveaxis(array, axis, -1)[lines]
    each = int(np.count_nonzero(lines[(0,) * (lines.ndim - 1)]))
    return np.moveaxis(kept.reshape(*lines.shape[:-1], each), -1, axis)


def connect(count: int, unions: Sequence[tuple[Ids, Ids]]) -> Ids:
    """Smallest id of each connected component, for ids 0 to count - 1."""
    label = np.arange(count, dtype=np.int64)
    if not unions:
        return label
    a = np.concatenate([u for u, _ in unions])
    b = np.concatenate([v for _, v in unions])
    while True:
        smallest = np.minimum(label[a], label[b])
        before = label.copy()
        # Hook the labels themselves too, so that whole sets move at once; then follow to the root.
        np.minimum.at(label, before[a], smallest)
        np.minimum.at(label, before[b], smallest)
        while not np.array_equal(shorter := label[label], label):
            label = shorter
        if np.array_equal(label[a], label[b]):
            return label
