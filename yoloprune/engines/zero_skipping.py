"""Inference that skips the zeros of a sparse network, on a CPU.

`SparseConv` is one convolution, `SparseNetwork` the whole network; the inner loops are in
`sparse_kernels.py`, where their pixels and weights lie in `sparse_layout.py`.

C channels, F filters, H and W of the input, H' and W' of the output.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from threading import Lock
from types import ModuleType
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.sparse_layout import Geometry, Window, nonzeros, tile_starts, unit_size
from yoloprune.errors import MissingDependencyError
from yoloprune.execution.fuse import folded, read_once
from yoloprune.execution.module import Network
from yoloprune.execution.stream import only_input
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.model import Model
from yoloprune.graph.operators.operator import Compute, Shape, given, number
from yoloprune.graph.operators.table import operator_of
from yoloprune.graph.shapes import facts

TITLE = "zero-skipping"

Layer: TypeAlias = Callable[[Tensor], Tensor]
"""From (B, C, H, W) to (B, F, H', W')."""

SPREAD_ALONE = 1 << 20
"""Floats up to which one thread spreads the input sooner than others could be woken."""

ALONE = 1 << 21
"""Multiply-adds up to which one thread is done sooner than others could be woken."""

TRIALS = 3
"""Timed runs of each way to compute a layer, in turn, before the faster one is chosen."""

FASTER = 0.95
"""The share of the dense time under which a layer's zeros are skipped: less is what noise is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """How the convolution of a node is computed, and the milliseconds that decided it.

    None is `worth` it where the whole network is no faster so.
    """

    node: str
    zeros: float
    dense_ms: float
    sparse_ms: float
    worth: bool = True

    @property
    def is_sparse(self) -> bool:
        """Whether its zeros are skipped."""
        return self.worth and self.sparse_ms < FASTER * self.dense_ms


class SparseNetwork:
    """A network that skips zeros in every convolution where that is faster, or in none.

    Each convolution with a square window and even padding is timed dense (torch) and sparse when
    the network is made, batch norm folded in both; `choices` has what was measured. It is for
    images of the graph's size, float32, on a CPU, and computes without gradients. Several threads
    may call it; they wait for each other.

    Args:
        graph: the network.
        parameters: its weights; nothing is skipped but exact zeros.
        threads: of the sparse convolutions, at least 1; the dense ones have torch's own.

    Raises `MissingDependencyError` where numba is not installed, `GraphError` where the parameters
    are not the graph's, `ValueError` for no threads.
    """

    def __init__(self, graph: Graph, parameters: Mapping[str, Tensor], *, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"threads={threads} must be at least 1")
        self._lock = Lock()
        arrays = {name: array.detach().float().cpu() for name, array in parameters.items()}
        graph, arrays = folded(graph, arrays)
        shapes, slopes = facts(graph).shapes, _slopes(graph)
        pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        choices, noise = [], torch.Generator().manual_seed(0)
        computes: dict[str, Compute] = {}
        changed: dict[str, Node | None] = {}
        for node in graph.nodes:
            kernel = arrays.get(node.inputs[1]) if node.operator == "Conv" else None
            window = None if kernel is None else Window.of(node, tuple(kernel.shape))
            if kernel is None or window is None:
                continue
            bias = arrays.get(node.inputs[2]) if len(node.inputs) > 2 else None
            if bias is None:
                bias = torch.zeros(window.filters)
            shape = shapes[node.inputs[0]][1:]
            after, slope = slopes.get(node.outputs[0], (None, 1.0))
            sparse = SparseConv(
                window, kernel, bias, shape, slope=slope, threads=threads, pool=pool
            )
            dense = _dense(window, kernel, bias, after, graph.opset)
            dense_ms, sparse_ms = _milliseconds(
                [dense, sparse], torch.rand(1, *shape, generator=noise)
            )
            choice = LayerChoice(
                node=node.name,
                zeros=1 - int(kernel.count_nonzero()) / kernel.numel(),
                dense_ms=dense_ms,
                sparse_ms=sparse_ms,
            )
            choices.append(choice)
            if choice.is_sparse:
                computes[node.name] = _compute(sparse)
                if after is not None:
                    changed[node.name] = replace(node, outputs=after.outputs)
                    changed[after.name] = None
        whole = Network(graph, arrays)
        nodes = (changed.get(node.name, node) for node in graph.nodes)
        graph = replace(graph, nodes=tuple(node for node in nodes if node is not None))
        self.network = Network(graph, arrays, computes=computes)
        if computes and not _faster(self.network, whole, shapes[only_input(graph)]):
            self.network = whole
            choices = [replace(choice, worth=False) for choice in choices]
        self.choices = tuple(choices)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) -> the graph's outputs."""
        # Layers write over what they gave before: one call at a time, and copies leave it.
        with self._lock:
            return tuple(output.clone() for output in self.network(images))


class SparseConv:
    """A convolution with bias and rectifier that costs time for its non-zero weights only.

    The input is spread into flat planes with zero padding, so that each weight multiplies
    consecutive floats at an offset that is known beforehand. Memory for input and output is kept:
    the system takes longer to give it anew than many a layer to compute. So a result holds until
    the next call only.

    Args:
        conv: its geometry.
        kernel: (F, C/groups, k, k), with batch norm folded in.
        bias: (F,).
        shape: (C, H, W) of the input.
        slope: what negative sums are multiplied with: 0 as by ReLU, 1 to leave them.
        threads: parts that the work is split into, at least 1.
        pool: runs all parts but one; None for a single thread.

    Raises `MissingDependencyError` where numba is not installed, `ValueError` for threads without a
    pool and for inputs that are not float32 of this shape.
    """

    def __init__(
        self,
        conv: Window,
        kernel: Tensor,
        bias: Tensor,
        shape: Shape,
        *,
        slope: float = 1.0,
        threads: int = 1,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        if threads < 1 or (threads > 1 and pool is None):
            raise ValueError(f"threads={threads} must be at least 1, and more need a pool")
        self.kernels = _kernels()
        self.conv, self.shape, self.threads, self.pool = conv, shape, threads, pool
        self.bias = bias.detach().float().numpy().copy()
        plan = Geometry.of(conv, shape)
        self.geometry = plan
        self.tiles, self.small = tile_starts(plan.end, self.kernels.TILE, self.kernels.SMALL_TILE)
        weights = kernel.detach().float().numpy()
        self.filters = unit_size(conv, weights, self.kernels.TOGETHER)
        self.starts, self.offsets, self.weights = nonzeros(
            conv, weights, plan, self.kernels.TILE, self.filters
        )
        # A 1x1 convolution reads its input as it is, unless a tile would read beyond its end.
        tile = self.kernels.SMALL_TILE if self.small else self.kernels.TILE
        fits = self.tiles[-1] + tile <= plan.end
        as_it_is = fits and plan.planes[1:] == (1, 1, *shape[1:])
        # After the last plane come a tile that the map does not fill, and the last row's padding.
        size = 0 if as_it_is else math.prod(plan.planes) + self.kernels.TILE + conv.padding
        self.buffer = np.zeros(size, np.float32)
        if len(self.weights) * plan.end <= ALONE:
            self.threads = 1
        units = self.starts.shape[1] - 1
        self.out = torch.empty(0, conv.filters, plan.height, plan.width)
        self.sums = np.empty(units * self.filters * self.kernels.TILE * self.threads, np.float32)
        self.parts = self._split()
        self.slope = np.float32(slope)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, H', W'), float32."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"made for inputs of {self.shape}, got {tuple(x.shape[1:])}")
        if x.dtype != torch.float32:
            raise ValueError(f"made for inputs of float32, got {x.dtype}")
        if len(self.out) != len(x):
            self.out = torch.empty(len(x), *self.out.shape[1:])
        for image, result in zip(x.contiguous().numpy(), self.out.numpy(), strict=True):
            self._run(image, result.reshape(self.conv.filters, -1))
        return self.out

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


def _slopes(graph: Graph) -> dict[str, tuple[Node, float]]:
    """Values that a rectifier alone reads: it, and what it multiplies negative numbers with."""
    alone = read_once(graph)
    found = {}
    for node in graph.nodes:
        if node.operator in ("Relu", "LeakyRelu") and node.inputs[0] in alone:
            slope = 0.0 if node.operator == "Relu" else number(node, "alpha", 0.01)
            found[node.inputs[0]] = node, slope
    return found


def _dense(conv: Window, kernel: Tensor, bias: Tensor, after: Node | None, opset: int) -> Layer:
    strides = conv.stride_y, conv.stride_x
    convolved = partial(
        F.conv2d, weight=kernel, bias=bias, stride=strides, padding=conv.padding,
        dilation=conv.dilation, groups=conv.groups,
    )  # fmt: skip
    if after is None:
        return convolved
    rectified = operator_of(after).compute
    return lambda x: rectified(after, [convolved(x)], opset)[0]


def _compute(layer: SparseConv) -> Compute:
    return lambda node, inputs, opset: (layer(given(node, inputs, 0)),)


def _milliseconds(layers: list[Layer], x: Tensor) -> list[float]:
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


def _faster(sparse: Network, dense: Network, shape: Shape) -> bool:
    """Whether a whole network is faster than another, run by run in turn, beside whatever runs."""
    image = torch.rand(1, *shape[1:], generator=torch.Generator().manual_seed(0))
    dense_ms, sparse_ms = _milliseconds([lambda x: dense(x)[0], lambda x: sparse(x)[0]], image)
    return sparse_ms < dense_ms


def _even(count: int, parts: int) -> Iterator[tuple[int, int]]:
    ends = [count * number // parts for number in range(parts + 1)]
    return pairwise(ends)


def _kernels() -> ModuleType:
    try:
        from yoloprune.engines import sparse_kernels as kernels
    except ImportError as error:
        raise MissingDependencyError(
            f"skipping zeros needs numba ({error}): pip install 'yoloprune[sparse]'"
        ) from error
    return kernels


def load(model: Model, setup: Setup) -> Runner:
    """A model that skips zeros where that is faster; it is timed here, layer by layer."""
    return runner(sparse_network(model, setup.threads), model)


def sparse_network(model: Model, threads: int) -> SparseNetwork:
    """A network that skips zeros; raises what `SparseNetwork` raises."""
    return SparseNetwork(model.graph, model.parameters, threads=threads)


def runner(network: SparseNetwork, model: Model) -> Runner:
    """The runner of such a network, which was made of this model."""
    return Runner(
        title=TITLE,
        outputs=tuple(model.graph.outputs),
        compute=lambda images: network(images.cpu()),
    )


ZERO_SKIPPING = Engine(
    name="zero-skipping",
    title=TITLE,
    load=load,
    modules=("numba",),
    install="pip install 'yoloprune[sparse]'",
)
