"""Inference that skips the zeros of a sparse network, on a CPU.

`SparseConv` is one convolution, `SparseNetwork` the whole network; the inner loops are in
`kernels.py`.

C channels, F filters, H and W of the input, H' and W' of the output.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloprune.darknet.shapes import Shape, layer_shapes, source_shapes
from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.darknet.state import BATCH_NORM_EPSILON, ConvParameters, State
from yoloprune.errors import WeightsError
from yoloprune.model.layers import ACTIVATION_FUNCTIONS, ConvLayer
from yoloprune.model.network import Network

SLOPES = {"leaky": 0.1, "linear": 1.0, "relie": 0.01, "relu": 0.0}
"""Activations that the kernel applies: what they multiply negative values with."""

BLOCK_FLOATS = 8192
"""Input floats that a tile may read before the next filter: they fit into the innermost cache."""

BLOCK_NONZEROS = 16
"""Non-zeros of a filter that a block of channels should have at least."""

MOST_FILLED = 1.25
"""Multiply-adds, per non-zero, up to which filters are computed together."""

SPREAD_ALONE = 1 << 20
"""Floats up to which one thread spreads the input sooner than others could be woken."""

TRIALS = 3
"""Timed runs of each way to compute a layer, before the faster one is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """How one convolution is computed, and the milliseconds that decided it."""

    index: int
    zeros: float
    dense_ms: float
    sparse_ms: float

    @property
    def is_sparse(self) -> bool:
        """Whether its zeros are skipped."""
        return self.sparse_ms < self.dense_ms


class SparseNetwork:
    """A network that skips zeros in every convolution where that is faster.

    Each convolution is timed dense (torch) and sparse when the network is made, batch norm folded
    in both; `choices` has what was measured. It is for images of the spec's size, float32, on a
    CPU, and computes without gradients.

    Args:
        spec: the network.
        state: its weights; nothing is skipped but exact zeros.
        threads: of the sparse convolutions; the dense ones have torch's own.

    Raises `WeightsError` where numba is not installed or the state does not fit the spec.
    """

    def __init__(self, spec: NetworkSpec, state: State, *, threads: int) -> None:
        self.network = Network.from_state(spec, state)
        shapes = layer_shapes(spec)
        pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        choices = []
        for conv in spec.convs:
            shape = source_shapes(conv, spec, shapes)[0]
            kernel, bias = folded(state[conv.index])
            dense = _dense(conv, kernel, bias)
            sparse = SparseConv(conv, kernel, bias, shape, threads=threads, pool=pool)
            dense_ms, sparse_ms = _milliseconds([dense, sparse], torch.rand(1, *shape))
            choice = LayerChoice(
                index=conv.index,
                zeros=1 - int(kernel.count_nonzero()) / kernel.numel(),
                dense_ms=dense_ms,
                sparse_ms=sparse_ms,
            )
            choices.append(choice)
            self.network.layers[str(conv.index)] = sparse if choice.is_sparse else dense
        self.choices = tuple(choices)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the maps that `Network.forward` gives."""
        # Layers write over what they gave before: what leaves this network is a copy.
        return tuple(output.clone() for output in self.network(images))


class SparseConv(nn.Module):
    """A convolution with bias and activation that costs time for its non-zero weights only.

    The input is spread into flat planes with zero padding, so that each weight multiplies
    consecutive floats at an offset that is known beforehand. Memory for input and output is kept:
    the system takes longer to give it anew than many a layer to compute. So a result holds until
    the next call only.

    Args:
        conv: geometry and activation.
        kernel: (F, C/groups, k, k), with batch norm folded in.
        bias: (F,).
        shape: (C, H, W) of the input.
        threads: parts that the work is split into.
        pool: runs all parts but one; None for a single thread.

    Raises `WeightsError` where numba is not installed.
    """

    def __init__(
        self,
        conv: Conv,
        kernel: Tensor,
        bias: Tensor,
        shape: Shape,
        *,
        threads: int = 1,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        super().__init__()
        self.kernels = _kernels()
        self.conv, self.shape, self.threads, self.pool = conv, shape, threads, pool
        self.bias = bias.float().numpy()
        plan = _Geometry.of(conv, shape)
        self.geometry = plan
        self.tiles, self.small = _tiles(plan.end, self.kernels.TILE, self.kernels.SMALL_TILE)
        weights = kernel.float().numpy()
        self.filters = _unit(conv, weights, self.kernels.TOGETHER)
        self.starts, self.offsets, self.weights = _nonzeros(
            conv, weights, plan, self.kernels.TILE, self.filters
        )
        # A 1x1 convolution reads its input as it is, unless a tile would read beyond its end.
        as_it_is = plan.planes[1:] == (1, 1, *shape[1:]) and plan.end >= self.kernels.SMALL_TILE
        # Where the map is smaller than a tile, the tile reads on: into zeros, or the next plane.
        size = 0 if as_it_is else math.prod(plan.planes) + self.kernels.TILE
        self.buffer = np.zeros(size, np.float32)
        units = self.starts.shape[1] - 1
        self.out = torch.empty(0, conv.filters, plan.height, plan.width)
        self.sums = np.empty(units * self.filters * self.kernels.TILE * threads, np.float32)
        self.parts = self._split()
        self.slope = np.float32(SLOPES.get(conv.activation, 1.0))
        self.after = None if conv.activation in SLOPES else ACTIVATION_FUNCTIONS[conv.activation]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, H', W'), float32."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"made for inputs of {self.shape}, got {tuple(x.shape[1:])}")
        if len(self.out) != len(x):
            self.out = torch.empty(len(x), *self.out.shape[1:])
        for image, result in zip(x.contiguous().numpy(), self.out.numpy(), strict=True):
            self._run(image, result.reshape(self.conv.filters, -1))
        return self.out if self.after is None else self.after(self.out)

    def _run(self, image: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        plan, flat = self.geometry, image.reshape(-1)
        if len(self.buffer):
            flat = self.buffer
            planes = flat[: math.prod(plan.planes)].reshape(plan.planes)
            spread = partial(self.kernels.spread, image, planes, self.conv.padding)
            parts = 1 if len(flat) <= SPREAD_ALONE else self.threads
            self._together([partial(spread, *part) for part in _even(len(image), parts)])
        convolve = partial(
            self.kernels.convolve, flat, self.starts, self.offsets, self.weights, self.filters,
            self.bias, self.slope, self.tiles, plan.end, self.small, plan.pitch, plan.width, out,
        )  # fmt: skip
        scratch = np.split(self.sums, self.threads)
        self._together(
            [partial(convolve, own, *part) for own, part in zip(scratch, self.parts, strict=True)]
        )

    def _together(self, calls: list[Callable[[], None]]) -> None:
        others = [self.pool.submit(call) for call in calls[1:]] if self.pool else []
        calls[0]()
        for other in others:
            other.result()

    def _split(self) -> list[tuple[int, int, int, int]]:
        """Parts of equal work: first and last tile, first and last unit of filters."""
        tiles, units = len(self.tiles), self.starts.shape[1] - 1
        if tiles >= 4 * self.threads:
            return [(first, last, 0, units) for first, last in _even(tiles, self.threads)]
        # Units have unequal numbers of non-zeros; writing a unit's output costs time as well.
        work = np.cumsum(np.diff(self.starts, axis=1).sum(axis=0) + 4)
        cuts = np.searchsorted(work, work[-1] * np.arange(1, self.threads) / self.threads)
        ends = [0, *cuts.tolist(), units]
        return [(0, tiles, a, b) for a, b in pairwise(ends)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """The flat planes of a convolution's input, and where its output lies in them.

    `planes` is (C, stride_y, stride_x, rows, pitch); output (y, x) is at y * pitch + x, `end` is
    the place after the last one.
    """

    planes: tuple[int, int, int, int, int]
    height: int
    width: int

    @classmethod
    def of(cls, conv: Conv, shape: Shape) -> "_Geometry":
        channels, *sides = shape
        reach = conv.dilation * (conv.size - 1)
        strides = (conv.stride_y, conv.stride_x)
        height, width = (
            (side + 2 * conv.padding - reach - 1) // stride + 1
            for side, stride in zip(sides, strides, strict=True)
        )
        rows, pitch = height + reach // strides[0], width + reach // strides[1]
        if conv.stride_x == 1:
            # The zeros right of a row are those left of the next one.
            pitch -= min(conv.padding, reach)
        return cls(planes=(channels, *strides, rows, pitch), height=height, width=width)

    @property
    def pitch(self) -> int:
        return self.planes[-1]

    @property
    def end(self) -> int:
        return (self.height - 1) * self.pitch + self.width


def folded(parameters: ConvParameters) -> tuple[Tensor, Tensor]:
    """Kernel and bias with the batch norm folded in; zeros of the kernel stay zero."""
    kernel, bias = parameters.kernel, parameters.bias
    if parameters.scale is None or parameters.mean is None or parameters.variance is None:
        return kernel, bias
    factor = parameters.scale / torch.sqrt(parameters.variance + BATCH_NORM_EPSILON)
    return kernel * factor[:, None, None, None], bias - parameters.mean * factor


def _dense(conv: Conv, kernel: Tensor, bias: Tensor) -> ConvLayer:
    layer = ConvLayer(replace(conv, batch_normalize=False), kernel.shape[1] * conv.groups).eval()
    assert layer.conv.bias is not None
    with torch.no_grad():
        layer.conv.weight.copy_(kernel)
        layer.conv.bias.copy_(bias)
    return layer


def _milliseconds(layers: list[nn.Module], x: Tensor) -> list[float]:
    """The best time of each layer; they alternate, after a run that is not timed."""
    best = [math.inf] * len(layers)
    with torch.inference_mode():
        for trial in range(TRIALS + 1):
            for number, layer in enumerate(layers):
                start = time.perf_counter()
                layer(x)
                if trial:
                    best[number] = min(best[number], 1e3 * (time.perf_counter() - start))
    return best


def _unit(conv: Conv, kernel: NDArray[np.float32], together: int) -> int:
    """How many consecutive filters to compute together: `together`, or 1.

    Where few of them have a non-zero in the same place, zeros would be multiplied.
    """
    if conv.filters // conv.groups % together and conv.groups > 1:
        return 1
    starts = np.arange(0, conv.filters, together)
    union = np.logical_or.reduceat(kernel != 0, starts, axis=0)
    nonzero = np.count_nonzero(kernel)
    return together if together * np.count_nonzero(union) <= MOST_FILLED * nonzero else 1


def _nonzeros(
    conv: Conv, kernel: NDArray[np.float32], plan: _Geometry, tile: int, together: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Non-zeros by block of channels, then unit of filters, then place in the input.

    Returns the start of each (block, unit), the offsets of all places where a unit has a non-zero,
    and its filters' values there.
    """
    units = -(-conv.filters // together)
    kernel = np.pad(kernel, ((0, units * together - conv.filters), (0, 0), (0, 0), (0, 0)))
    values = kernel.reshape(units, together, -1).swapaxes(1, 2).reshape(-1, together)
    places = np.flatnonzero(values.any(axis=1))
    values = values[places]
    rest, x = np.divmod(places, conv.size)
    rest, y = np.divmod(rest, conv.size)
    unit, channel = np.divmod(rest, kernel.shape[1])
    _, stride_y, stride_x, rows, pitch = plan.planes
    y, x = y * conv.dilation, x * conv.dilation
    group = unit * together // (conv.filters // conv.groups)
    plane = (group * kernel.shape[1] + channel) * stride_y + y % stride_y
    plane = plane * stride_x + x % stride_x
    offsets = (plane * rows + y // stride_y) * pitch + x // stride_x
    # Of each channel a tile reads itself and the rows that its window reaches down to.
    per_channel = tile + conv.dilation * (conv.size - 1) * pitch
    fitting = BLOCK_FLOATS // per_channel
    # With few non-zeros, loading and storing the sums would take longer than the cache saves.
    worthwhile = BLOCK_NONZEROS * kernel.shape[1] * units // max(1, len(places))
    in_block = max(1, fitting, min(worthwhile, kernel.shape[1]))
    blocks = -(-kernel.shape[1] // in_block)
    bins = channel // in_block * units + unit
    order = np.argsort(bins, kind="stable")
    ends = np.cumsum(np.bincount(bins, minlength=blocks * units))
    starts = np.concatenate([[0], ends])
    rows_of_starts = np.arange(blocks)[:, None] * units + np.arange(units + 1)
    return (
        starts[rows_of_starts].astype(np.int64),
        offsets[order].astype(np.int32),
        values[order].reshape(-1),
    )


def _tiles(end: int, tile: int, small: int) -> tuple[NDArray[np.int64], bool]:
    """First pixels of the tiles that cover `end` pixels, and whether the last one is small.

    The last one overlaps the one before it rather than reading beyond the end.
    """
    full, rest = divmod(end, tile)
    starts = [number * tile for number in range(full)]
    is_small = 0 < rest <= small
    if rest:
        starts.append(max(0, end - (small if is_small else tile)))
    return np.array(starts, np.int64), is_small


def _even(count: int, parts: int) -> Iterator[tuple[int, int]]:
    ends = [count * number // parts for number in range(parts + 1)]
    return pairwise(ends)


def _kernels() -> ModuleType:
    try:
        from yoloprune.sparsity import kernels
    except ImportError as error:
        raise WeightsError(
            "skipping zeros needs numba: install yoloprune with its `sparse` extra"
        ) from error
    return kernels
