"""What a network costs of which some channels are removed, counted without cutting it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.cost import byte_count, statistics
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family, Shape
from yoloprune.graph.operators.table import OPERATORS, operator_of
from yoloprune.pruning.clock import Clock
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.ids import Ids, by_lines, cut_axis
from yoloprune.pruning.labels.labels import Labels, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """Counts of a network for one image, of all nodes together."""

    macs: int
    """Multiply-accumulates of contractions."""

    params: int
    """Trained numbers; running statistics are not trained."""

    channels: int
    """Output channels of all contractions with trained kernels."""

    bytes: int
    """Bytes of all parameters in a file, running statistics among them."""

    ms: float = 0.0
    """Milliseconds in an engine, where timings tell."""


MEASURES: Mapping[str, Callable[[Remaining], float]] = {
    "macs": lambda remaining: remaining.macs,
    "params": lambda remaining: remaining.params,
    "channels": lambda remaining: remaining.channels,
    "bytes": lambda remaining: remaining.bytes,
    "ms": lambda remaining: remaining.ms,
}
"""What a budget can limit; each but those in `UNEVEN` never rises as channels are removed."""

UNEVEN = frozenset({"ms"})
"""Measures that may rise as channels are removed: they need timings."""


class Meter:
    """Counts what a network costs under masks over its channel ids; a clock tells its time."""

    def __init__(self, dependencies: DependencyGraph, clock: Clock | None = None) -> None:
        self.clock = clock
        graph, labels = dependencies.graph, dependencies.labels
        shapes = labels.facts.shapes
        nodes = {node.name: node for node in graph.nodes}
        filters, columns, sizes, positions, counted = [], [], [], [], []
        widths = {
            name: byte_count(parameter) / max(1, math.prod(parameter.shape))
            for name, parameter in graph.parameters.items()
        }
        numbers: list[float] = []
        seen: set[str] = set()
        for found in labels.contractions:
            node = nodes[found.node]
            kernel = np.prod(shapes[found.name], dtype=np.int64)
            dense = operator_of(node).macs(
                node,
                [shapes[name] for name in node.inputs],
                [shapes[name] for name in node.outputs],
            )
            rows = np.split(found.filters, 1 if found.depthwise else found.groups)
            read = [found.filters[:0]] if found.depthwise else np.split(found.columns, found.groups)
            pairs = sum(len(a) * max(1, len(b)) for a, b in zip(rows, read, strict=True))
            for a, b in zip(rows, read, strict=True):
                filters.append(a)
                columns.append(b)
                # A kernel that several nodes read is stored once.
                stored = found.name in graph.parameters and found.name not in seen
                sizes.append(int(kernel) // pairs * stored)
                numbers.append(widths.get(found.name, 0))
                positions.append(dense // pairs)
                counted.append(len(b) > 0)
            seen.add(found.name)
        self._filters, self._columns = _Runs(filters), _Runs(columns)
        self._sizes, self._macs = np.array(sizes, np.int64), np.array(positions, np.int64)
        self._bytes = self._sizes * np.array(numbers, np.float64)
        self._reads = np.array(counted, np.bool_)
        kernels = {found.node for found in labels.contractions}
        self._products = [
            _Product(labels, node)
            for node in graph.nodes
            if node.name not in kernels and _is_contraction(node)
        ]
        untrained = statistics(graph)
        vectors = _beside_kernels(dependencies, seen)
        # What a kernel is computed from loses filters and columns, others entries along one axis.
        whole_axis = np.zeros(1, np.int64)
        axes = [[*vector.axes.values(), whole_axis][:2] for vector in vectors]
        self._vectors, self._across = (_Runs([pair[n] for pair in axes]) for n in range(2))
        wide = np.array([_beside(shapes[vector.name], vector) for vector in vectors], np.int64)
        self._wide = wide * np.array([v.name not in untrained for v in vectors], np.int64)
        self._wide_bytes = wide * np.array([widths[v.name] for v in vectors], np.float64)
        whole = [n for n in graph.parameters if n not in seen | {v.name for v in vectors}]
        self._rest = sum(
            math.prod(graph.parameters[name].shape) for name in whole if name not in untrained
        )
        self._rest_bytes = sum(byte_count(graph.parameters[name]) for name in whole)

    def remaining(self, kept: NDArray[np.bool_]) -> Remaining:
        """What is left of the network; `kept` is over channel ids."""
        filters, columns = self._filters.count(kept), self._columns.count(kept)
        pairs = filters * np.where(self._reads, columns, 1)
        entries = self._vectors.count(kept) * self._across.count(kept)
        return Remaining(
            macs=int((self._macs * pairs).sum()) + sum(each.macs(kept) for each in self._products),
            params=int((self._sizes * pairs).sum())
            + int((self._wide * entries).sum())
            + self._rest,
            channels=int(filters.sum()),
            bytes=round(float((self._bytes * pairs).sum() + (self._wide_bytes * entries).sum()))
            + self._rest_bytes,
            ms=0.0 if self.clock is None else self.clock.ms(kept),
        )


def _is_contraction(node: Node) -> bool:
    row = OPERATORS.get(node.operator)
    return row is not None and row.family is Family.CONTRACTION


class _Product:
    """A contraction of two values: what it costs where either has lost channels."""

    def __init__(self, labels: Labels, node: Node) -> None:
        self._node = node
        self._values = [
            (labels.facts.shapes[name], labels.values.get(name), labels.lines.get(name))
            for name in (*node.inputs[:2], node.outputs[0])
        ]

    def macs(self, kept: NDArray[np.bool_]) -> int:
        *read, given = (_left(*value, kept) for value in self._values)
        return operator_of(self._node).macs(self._node, read, [given])


def _left(shape: Shape, ids: Ids | None, lines: int | None, kept: NDArray[np.bool_]) -> Shape:
    """What is left of a value's shape."""
    axis = None if ids is None or kept[ids].all() else cut_axis(kept[ids], lines)
    if ids is None or axis is None:
        return shape
    (line, *_) = by_lines(kept[ids], axis)
    return (*shape[:axis], int(line.sum()), *shape[axis + 1 :])


class _Runs:
    """Arrays of ids in a row, to count in each at once."""

    def __init__(self, arrays: list[NDArray[np.int64]]) -> None:
        self._ids = np.concatenate([*arrays, np.zeros(0, np.int64)]).astype(np.int64)
        self._ends = np.cumsum([0, *map(len, arrays)])

    def count(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of each array's ids stay."""
        total = np.concatenate([[0], np.cumsum(kept[self._ids])])
        counts: NDArray[np.int64] = np.diff(total[self._ends])
        return counts


def _beside_kernels(dependencies: DependencyGraph, kernels: set[str]) -> list[Vector]:
    """The readings of other parameters that lose entries, one of each array: the narrowest."""
    found: dict[str, Vector] = {}
    for vector in sorted(dependencies.labels.vectors, key=lambda own: -len(own.axes)):
        if vector.name in dependencies.graph.parameters and vector.name not in kernels:
            found.setdefault(vector.name, vector)
    return list(found.values())


def _beside(shape: tuple[int, ...], vector: Vector) -> int:
    """Numbers of an array for each of its entries along the axes that are cut."""
    return math.prod(size for axis, size in enumerate(shape) if axis not in vector.axes)
