"""The inner loops of the zero-skipping convolution, compiled by numba.

Only `inference.py` imports this module, and late: numba is an optional package.

A tile is a run of consecutive pixels of one flattened output map. While the non-zeros of one
filter pass, the tile's sums stay in vector registers: each non-zero costs one multiply-add for
every vector of the tile, reading the input at the non-zero's own offset (J. Park et al., "Faster
CNNs with Direct Sparse Convolutions and Guided Pruning", 2017). Compilers do not find this by
themselves from a loop over an array, so `_accumulate` writes the loop in LLVM's own terms.

F filters, C input channels, T pixels a tile, K non-zeros.
"""

from collections.abc import Callable
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


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter's lock, and keep the machine code on disk between runs.

    numba keeps it beside this file or, where that cannot be written, in the user's cache folder.
    """
    try:
        kernel: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # Neither can be written.
        kernel = njit(nogil=True, error_model="numpy")(function)
    return kernel


def _accumulate(pixels: int) -> Callable[..., None]:
    """The loop over the non-zeros of one filter, for tiles of so many pixels.

    accumulate(sums, at, x, x_at, offsets, weights, first, last) adds
    weights[k] * x[x_at + offsets[k] + i] to sums[at + i] for k in first..last-1, i in 0..pixels-1.
    All arrays are one-dimensional and contiguous. Nothing is checked.
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
            context, builder, signature, values, vectors
        )

    return accumulate


def _write_loop(context: Any, builder: Any, signature: Any, values: Any, vectors: int) -> Any:
    single, count = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, LANES)
    undefined = ir.Constant(vector, ir.Undefined)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    contract = ["contract"]  # A product and its sum may be one fused instruction.

    def data(number: int) -> Any:
        array = context.make_array(signature.args[number])(context, builder, values[number])
        return array.data

    def part(start: Any, number: int) -> Any:
        place = builder.gep(start, [ir.Constant(count, number * LANES)])
        return builder.bitcast(place, vector.as_pointer())

    target = builder.gep(data(0), [values[1]])
    source = builder.gep(data(2), [values[3]])
    offsets, weights, first, last = data(4), data(5), values[6], values[7]
    begin = [builder.load(part(target, v), align=4) for v in range(vectors)]
    before = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)

    builder.position_at_end(head)
    number = builder.phi(count)
    sums = [builder.phi(vector) for _ in range(vectors)]
    builder.cbranch(builder.icmp_signed("<", number, last), body, end)

    builder.position_at_end(body)
    offset = builder.sext(builder.load(builder.gep(offsets, [number])), count)
    weight = builder.load(builder.gep(weights, [number]))
    lane = builder.insert_element(undefined, weight, ir.Constant(ir.IntType(32), 0))
    weight = builder.shuffle_vector(lane, undefined, first_lane)
    pixels = builder.gep(source, [offset])
    products = [
        builder.fmul(weight, builder.load(part(pixels, v), align=4), flags=contract)
        for v in range(vectors)
    ]
    new = [builder.fadd(s, p, flags=contract) for s, p in zip(sums, products, strict=True)]
    following = builder.add(number, ir.Constant(count, 1))
    builder.branch(head)

    for variable, start, after in zip([number, *sums], [first, *begin], [following, *new],
                                      strict=True):  # fmt: skip
        variable.add_incoming(start, before)
        variable.add_incoming(after, body)
    builder.position_at_end(end)
    for v, value in enumerate(sums):
        builder.store(value, part(target, v), align=4)
    return context.get_dummy_value()


_accumulate_tile = _accumulate(TILE)
_accumulate_small_tile = _accumulate(SMALL_TILE)


@compiled
def _activate(sums: np.ndarray, slope: np.float32, out: np.ndarray) -> None:
    for i in range(len(out)):
        out[i] = max(sums[i], sums[i] * slope)


@compiled
def convolve(
    x: np.ndarray,  # (flat input,) float32
    starts: np.ndarray,  # (channel blocks, F + 1) int64: where each filter's non-zeros begin
    offsets: np.ndarray,  # (K,) int32
    weights: np.ndarray,  # (K,) float32
    bias: np.ndarray,  # (F,) float32
    slope: float,  # what the activation multiplies negative values with
    tiles: np.ndarray,  # (tiles,) int64: first pixel of each, in the flat padded output
    end: int,  # the pixel after the last one
    small: bool,  # whether the last of them is a small one
    pitch: int,  # flat pixels a row, of which the first `width` are output
    width: int,
    out: np.ndarray,  # (F, height x width) float32
    sums: np.ndarray,  # (F x TILE,) float32, scratch
    first_tile: int,
    last_tile: int,
    first_filter: int,
    last_filter: int,
) -> None:
    """Compute some tiles of some filters: convolution, bias and activation."""
    for tile in range(first_tile, last_tile):
        at = tiles[tile]
        is_small = small and tile == len(tiles) - 1
        size = min(SMALL_TILE if is_small else TILE, end - at)
        for f in range(first_filter, last_filter):
            sums[f * TILE : (f + 1) * TILE] = bias[f]
        # A block of channels of one tile fits into the innermost cache: all filters read it there.
        for block in range(starts.shape[0]):
            for f in range(first_filter, last_filter):
                first, last = starts[block, f], starts[block, f + 1]
                if is_small:
                    _accumulate_small_tile(sums, f * TILE, x, at, offsets, weights, first, last)
                else:
                    _accumulate_tile(sums, f * TILE, x, at, offsets, weights, first, last)
        for f in range(first_filter, last_filter):
            done = 0
            while done < size:
                row, column = divmod(at + done, pitch)
                run = min(size - done, pitch - column)
                count = min(run, width - column)
                if count > 0:
                    source = sums[f * TILE + done : f * TILE + done + count]
                    target = out[f, row * width + column : row * width + column + count]
                    _activate(source, slope, target)
                done += run


@compiled
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
            for phase_x in range(stride_x):
                target = planes[channel, phase_y, phase_x, row]
                column = -(-(padding - phase_x) // stride_x) if padding > phase_x else 0
                source = column * stride_x + phase_x - padding
                count = min(pitch - column, -(-(width - source) // stride_x))
                for i in range(count):
                    target[column + i] = x[channel, y, source + i * stride_x]
