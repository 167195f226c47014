"""The inner loops of the zero-skipping convolution, compiled by numba.

Only `zero_skipping.py` imports this module, and late: numba is an optional package.

A tile is a run of consecutive pixels of one flattened output map. While the non-zeros of one
filter pass, the tile's sums stay in vector registers: each non-zero costs one multiply-add for
every vector of the tile, reading the input at the non-zero's own offset (J. Park et al., "Faster
CNNs with Direct Sparse Convolutions and Guided Pruning", 2017). Compilers do not find this by
themselves from a loop over an array, so `_accumulate` writes the loop in LLVM's own terms.

Where four consecutive filters have their non-zeros in the same places, they are computed together,
and each vector of pixels that is loaded serves all four (the pattern 1x4 of `masks.py`).

F filters, C input channels, U units of one filter or four, K places of non-zeros in a unit.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 8
"""Floats in a vector: AVX2's width. Wider machines run as fast with these, narrower ones split."""

TILE = 12 * LANES
"""Pixels a tile: twelve sums, for with AVX2 there are sixteen registers."""

SMALL_TILE = TILE // 2
"""Pixels of the last tile where no more are left."""

TOGETHER = 4
"""Filters of a unit whose non-zeros coincide."""

STRIP = TILE // TOGETHER
"""Pixels of a tile that they are computed for at once: as many sums as of one filter's tile."""

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def compiled(*arguments: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile for arguments of these types alone, and keep the machine code between runs.

    numba keeps it beside this file or, where that cannot be written, in the user's cache folder.
    The interpreter's lock is not held. Calls with other types raise `TypeError`.
    """
    signature = types.void(*arguments)

    def compile_now(function: Callable[..., None]) -> Callable[..., None]:
        # A damaged cache raises whatever unpickling does; no cache costs some seconds a run.
        with suppress(Exception):
            return _with_cache(function, signature)
        kernel: Callable[..., None] = njit(signature, **OPTIONS)(function)
        return kernel

    return compile_now


def _with_cache(function: Callable[..., None], signature: Any) -> Callable[..., None]:
    kernel = njit(cache=True, **OPTIONS)(function)
    try:
        kernel.compile(signature)
    except Exception:
        kernel.recompile()  # Of nothing yet: this empties the cache.
        kernel.compile(signature)
    kernel.disable_compile()
    found: Callable[..., None] = kernel
    return found


def _array(kind: Any, dimensions: int = 1) -> Any:
    return types.Array(kind, dimensions, "C")


def _accumulate(pixels: int, filters: int) -> Callable[..., None]:
    """The loop over the non-zeros of a unit of so many filters, for so many pixels.

    accumulate(sums, at, x, x_at, offsets, weights, first, last) adds
    weights[k * filters + f] * x[x_at + offsets[k] + i] to sums[at + f * TILE + i] for k in
    first..last-1, f in 0..filters-1 and i in 0..pixels-1. All arrays are one-dimensional and
    contiguous, of float32 but for the int32 offsets. No bound is checked.
    """
    vectors = pixels // LANES

    @intrinsic
    def accumulate(
        _: Any, sums: Any, at: Any, x: Any, x_at: Any, offsets: Any, weights: Any, first: Any,
        last: Any,
    ) -> Any:  # fmt: skip
        place = types.intp
        signature = types.void(sums, place, x, place, offsets, weights, place, place)
        return signature, lambda context, builder, signature, values: _write_loop(
            context, builder, signature, values, vectors, filters
        )

    return accumulate


def _write_loop(
    context: Any, builder: Any, signature: Any, values: Any, vectors: int, filters: int
) -> Any:
    single, count = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    contract = ["contract"]  # A product and its sum may be one fused instruction.

    def data(number: int) -> Any:
        array = context.make_array(signature.args[number])(context, builder, values[number])
        return array.data

    def part(start: Any, number: int) -> Any:
        place = builder.gep(start, [ir.Constant(count, number)])
        return builder.bitcast(place, vector.as_pointer())

    def spread_weight(number: Any, f: int) -> Any:
        place = builder.add(builder.mul(number, ir.Constant(count, filters)), ir.Constant(count, f))
        weight = builder.load(builder.gep(weights, [place]))
        lane = builder.insert_element(undefined, weight, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(lane, undefined, first_lane)

    def more(total: Any, weight: Any, pixels: Any) -> Any:
        product = builder.fmul(weight, pixels, flags=contract)
        return builder.fadd(total, product, flags=contract)

    target = builder.gep(data(0), [values[1]])
    source = builder.gep(data(2), [values[3]])
    offsets, weights, first, last = data(4), data(5), values[6], values[7]
    places = [f * TILE + v * LANES for f in range(filters) for v in range(vectors)]
    begin = [builder.load(part(target, place), align=4) for place in places]
    before = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)

    builder.position_at_end(head)
    number = builder.phi(count)
    sums = [builder.phi(vector) for _ in places]
    builder.cbranch(builder.icmp_signed("<", number, last), body, end)

    builder.position_at_end(body)
    offset = builder.sext(builder.load(builder.gep(offsets, [number])), count)
    here = builder.gep(source, [offset])
    pixels = [builder.load(part(here, v * LANES), align=4) for v in range(vectors)]
    spread = [spread_weight(number, f) for f in range(filters)]
    new = [more(total, spread[n // vectors], pixels[n % vectors]) for n, total in enumerate(sums)]
    following = builder.add(number, ir.Constant(count, 1))
    builder.branch(head)

    for variable, start, after in zip([number, *sums], [first, *begin], [following, *new],
                                      strict=True):  # fmt: skip
        variable.add_incoming(start, before)
        variable.add_incoming(after, body)
    builder.position_at_end(end)
    for place, value in zip(places, sums, strict=True):
        builder.store(value, part(target, place), align=4)
    return context.get_dummy_value()


_accumulate_tile = _accumulate(TILE, 1)
_accumulate_small_tile = _accumulate(SMALL_TILE, 1)
_accumulate_strip = _accumulate(STRIP, TOGETHER)


@njit(**OPTIONS)
def _activate(sums: np.ndarray, slope: np.float32) -> None:
    if slope == 0:  # Times which inf is NaN.
        for i in range(len(sums)):
            sums[i] = np.float32(0) if sums[i] < 0 else sums[i]
    else:
        for i in range(len(sums)):
            sums[i] = sums[i] * slope if sums[i] < 0 else sums[i]


# Loops over slices from their first element on become vector instructions; indices that could be
# negative, as far as numba knows, do not.
@njit(**OPTIONS)
def _copy(source: np.ndarray, target: np.ndarray) -> None:
    for i in range(len(target)):
        target[i] = source[i]


@njit(**OPTIONS)
def _deal_out(source: np.ndarray, even: np.ndarray, odd: np.ndarray) -> None:
    for i in range(min(len(even), len(odd))):
        even[i] = source[2 * i]
        odd[i] = source[2 * i + 1]
    for i in range(len(odd), len(even)):
        even[i] = source[2 * i]
    for i in range(len(even), len(odd)):
        odd[i] = source[2 * i + 1]


@njit(**OPTIONS)
def _runs(at: int, size: int, pitch: int, width: int, runs: np.ndarray) -> int:
    """Where a tile's pixels go: (place in the tile, place in the map, count) of each row's part."""
    found = done = 0
    while done < size:
        row, column = divmod(at + done, pitch)
        run = min(size - done, pitch - column)
        count = min(run, width - column)
        if count > 0:
            runs[found] = (done, row * width + column, count)
            found += 1
        done += run
    return found


@compiled(
    _array(types.float32), _array(types.int64, 2), _array(types.int32), _array(types.float32),
    types.int64, _array(types.float32), types.float32, _array(types.int64), types.int64,
    types.boolean, types.int64, types.int64, _array(types.float32, 2), _array(types.float32),
    types.int64, types.int64, types.int64, types.int64,
)  # fmt: skip
def convolve(
    x: np.ndarray,  # (flat input,) float32
    starts: np.ndarray,  # (channel blocks, U + 1) int64: where each unit's places begin
    offsets: np.ndarray,  # (K,) int32
    weights: np.ndarray,  # (K x filters of a unit,) float32
    filters: int,  # of a unit: 1 or TOGETHER
    bias: np.ndarray,  # (F,) float32
    slope: np.float32,  # what the activation multiplies negative values with
    tiles: np.ndarray,  # (tiles,) int64: first pixel of each, in the flat padded output
    end: int,  # the pixel after the last one
    small: bool,  # whether the last of them is a small one
    pitch: int,  # flat pixels a row, of which the first `width` are output
    width: int,
    out: np.ndarray,  # (F, height x width) float32
    sums: np.ndarray,  # (U x filters of a unit x TILE,) float32, scratch
    first_tile: int,
    last_tile: int,
    first_unit: int,
    last_unit: int,
) -> None:
    """Compute some tiles of some units: convolution, bias and activation."""
    first_filter, last_filter = first_unit * filters, min(last_unit * filters, len(bias))
    runs = np.empty((TILE, 3), np.int64)
    for tile in range(first_tile, last_tile):
        at = tiles[tile]
        is_small = small and tile == len(tiles) - 1
        size = min(SMALL_TILE if is_small else TILE, end - at)
        for f in range(first_filter, last_filter):
            sums[f * TILE : (f + 1) * TILE] = bias[f]
        # A block of channels of one tile fits into the innermost cache: all filters read it there.
        for block in range(starts.shape[0]):
            for unit in range(first_unit, last_unit):
                first, last = starts[block, unit], starts[block, unit + 1]
                place = unit * filters * TILE
                if filters == TOGETHER:
                    for i in range(0, SMALL_TILE if is_small else TILE, STRIP):
                        _accumulate_strip(sums, place + i, x, at + i, offsets, weights, first, last)
                elif is_small:
                    _accumulate_small_tile(sums, place, x, at, offsets, weights, first, last)
                else:
                    _accumulate_tile(sums, place, x, at, offsets, weights, first, last)
        found = _runs(at, size, pitch, width, runs)
        for f in range(first_filter, last_filter):
            own = sums[f * TILE : f * TILE + size]
            _activate(own, slope)
            for source, target, count in runs[:found]:
                _copy(own[source : source + count], out[f, target : target + count])


@compiled(_array(types.float32, 3), _array(types.float32, 5), types.int64, types.int64, types.int64)
def spread(
    x: np.ndarray,  # (C, H, W) float32
    planes: np.ndarray,  # (C, stride_y, stride_x, rows, pitch) float32
    padding: int,
    first_channel: int,
    last_channel: int,
) -> None:
    """Copy channels between their zero padding, rows and columns dealt out over the strides.

    What one output row reads with one tap is then consecutive, whatever the stride.
    """
    _, height, width = x.shape
    stride_y, stride_x, rows, pitch = planes.shape[1:]
    for channel in range(first_channel, last_channel):
        for y in range(height):
            row, phase_y = divmod(y + padding, stride_y)
            if row >= rows:
                break
            source_row = x[channel, y]
            if stride_x == 2:
                # Even columns lie in one plane, odd ones in the other: both in one pass.
                even = planes[channel, phase_y, padding % 2, row, padding // 2 :]
                odd = planes[channel, phase_y, 1 - padding % 2, row, (padding + 1) // 2 :]
                _deal_out(source_row, even[: (width + 1) // 2], odd[: width // 2])
                continue
            for phase_x in range(stride_x):
                target = planes[channel, phase_y, phase_x, row]
                column = -(-(padding - phase_x) // stride_x) if padding > phase_x else 0
                source = column * stride_x + phase_x - padding
                count = min(pitch - column, -(-(width - source) // stride_x))
                if stride_x == 1:
                    _copy(source_row[source:], target[column : column + count])
                    continue
                for i in range(count):
                    target[column + i] = source_row[source + i * stride_x]
