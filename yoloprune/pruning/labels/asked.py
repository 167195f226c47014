"""What the format asks for that a graph is written back to: channels that stay, or go together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from yoloprune.graph.edits import Reading
from yoloprune.graph.graph import Held, Node
from yoloprune.pruning.labels.ids import Ids, Mask
from yoloprune.pruning.labels.labels import Contraction
from yoloprune.pruning.labels.walk import Walk


def asked(walk: Walk) -> None:
    """Write down what a graph's `blocks`, `parts`, `alike` and `held` ask for."""
    graph = walk.graph
    for name, size in graph.blocks.items():
        if name in walk.values:
            runs = walk.values[name].reshape(-1, size)
            walk.unions.append((np.repeat(runs[:, 0], size), runs.reshape(-1)))
    for name, (axis, parts) in graph.parts.items():
        if name in walk.values and walk.values[name].shape[axis] > 1:
            ids = walk.values[name]
            first, *others = np.split(ids, parts, axis=axis)
            walk.unions += [(first.reshape(-1), other.reshape(-1)) for other in others]
    contractions = {found.node: found for found in walk.contractions}
    for held in graph.held:
        if held.node in contractions:
            walk.freeze(contractions[held.node].filters[list(held.filters)], held.reason)
    if graph.alike:
        readings: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in graph.nodes:
            for position, name in enumerate(node.inputs):
                readings[name].append((node, position))
        for name in graph.alike:
            _cut_alike(walk, name, readings[name])


def still_held(
    held: Iterable[Held], contractions: Iterable[Contraction], kept: Mask
) -> tuple[Held, ...]:
    """What must stay, by its numbers among the filters that a mask over channel ids leaves."""
    masks = {found.node: kept[found.filters] for found in contractions}
    return tuple(_renumbered(own, masks[own.node]) if own.node in masks else own for own in held)


def _renumbered(own: Held, kept: Mask) -> Held:
    places = np.cumsum(kept) - 1
    return replace(own, filters=tuple(int(places[n]) for n in own.filters if kept[n]))


def _cut_alike(walk: Walk, name: str, readings: Sequence[tuple[Node, int]]) -> None:
    """Let all who read an array lose the same of it."""
    vectors = {(own.node, own.input): own.axes for own in walk.vectors}
    kernels = {(own.node, own.input): own for own in walk.contractions}
    (first, position), *others = readings
    one = kernels.get((first.name, position))
    for node, place in others:
        other = kernels.get((node.name, place))
        if one and other and (one.filter_axis, one.groups) == (other.filter_axis, other.groups):
            walk.unite(one.filters, other.filters, node)
            walk.unite(one.read, other.read, node)
            continue
        a = _axes(kernels, vectors, (first.name, position))
        b = _axes(kernels, vectors, (node.name, place))
        for axis in a.keys() | b.keys():
            if axis in a and axis in b and a[axis].shape == b[axis].shape:
                walk.unite(a[axis], b[axis], node)
                continue
            for ids in (a.get(axis), b.get(axis)):
                if ids is not None:
                    walk.freeze(ids, f"{name} is read in another way by {node.name}")


def _axes(
    kernels: Mapping[Reading, Contraction],
    vectors: Mapping[Reading, Mapping[int, Ids]],
    reading: Reading,
) -> Mapping[int, Ids]:
    """What a reading of an array loses, by axis."""
    found = kernels.get(reading)
    if found is None:
        return vectors.get(reading, {})
    if found.depthwise:
        return {0: found.filters if found.filter_axis == 0 else found.read}
    return {found.filter_axis: found.filters, found.column_axis: found.columns}
