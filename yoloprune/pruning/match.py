"""The channels of a dense network that anyone's slim network has kept, found by its numbers.

Nothing is known of how the slim network was made. Layers are paired by name, or in order. A slim
layer's filters are among the dense layer's, in the same order: of all ways to choose them, that is
taken by which their kernels, biases and batch norms differ least. So channels are found where
weights were recovered, too, or batch norms folded; `difference` says how far it is from exact.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import VerificationError
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import Arrays, Layer, Layers, arrays_of, by_filter, layers_of
from yoloprune.pruning.masked import silenced
from yoloprune.pruning.prove import Exactness, exactness, outputs
from yoloprune.pruning.verification import Verification, compare

Mask = NDArray[np.bool_]

SIZE = 1e-6
"""What a kernel's size counts beside its direction: folded batch norms change it."""

UNEQUAL = 1.0
"""What another number in a bias or a batch norm counts: recovery changes some, for all filters."""

ROUNDING = 5e-5
"""Relative difference of outputs that float32 explains where a network was written otherwise."""

TINY = 1e-300
"""Divides nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far a slim network is from the masked dense one.

    `exactness` is over all values, None where the two networks are not made of the same operators,
    as when batch norms were folded, which rounds; `change` is over the outputs. `layers` names the
    nodes whose arrays are not what surgery would have left, in order.
    """

    exactness: Exactness | None
    change: Verification
    layers: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs but by rounding."""
        if self.exactness is None:
            return self.change.relative_error <= ROUNDING
        return self.exactness.passed


def kept_channels(
    dense: DependencyGraph, dense_parameters: Arrays, slim: Graph, slim_parameters: Arrays
) -> Mask:
    """A mask over the dense network's channel ids: those that the slim network has left.

    Raises `VerificationError`, by layer, where the slim network cannot come from the dense one.
    """
    layers = layers_of(dense)
    own = _in_order(layers, layers_of(analyze(slim)))
    arrays = arrays_of(dense.graph, dense_parameters), arrays_of(slim, slim_parameters)
    kept = np.ones(dense.labels.count, np.bool_)
    open_ids = [i for group in dense.prunable for i in group.channels]
    undecided = np.zeros(dense.labels.count, np.bool_)
    undecided[open_ids] = True
    for layer, slim_layer in zip(layers.values(), own, strict=True):
        filters = layer.contraction.filters
        costs = _costs(layer, slim_layer, *arrays, kept)
        must = kept[filters] & ~undecided[filters]
        costs[~kept[filters] & ~undecided[filters]] = np.inf
        chosen = _aligned(costs, must)
        if chosen is None:
            raise VerificationError(
                f"{slim_layer.name}: its {slim_layer.filters} filters cannot be among the "
                f"{layer.filters} of the dense network's {layer.name}"
            )
        decided = filters[undecided[filters]]
        kept[decided], undecided[decided] = False, False
        kept[filters[chosen]] = True
    return kept


def difference(
    dense: DependencyGraph,
    dense_parameters: Arrays,
    kept: Mask,
    slim: tuple[Graph, Arrays],
    inputs: Mapping[str, Tensor],
) -> Difference:
    """Compare a slim network with the dense one in which only the kept channels are heard.

    `inputs` are float64, by the dense network's names; names that the slim one has of its own do
    not matter.
    """
    graph, parameters = edit(dense.graph, dense_parameters, removal(dense, kept))
    given = dict(zip(slim[0].inputs, inputs.values(), strict=True))
    masked = outputs(*silenced(dense, dense_parameters, kept), inputs)
    change = compare(outputs(*slim, given), masked)
    names = _names(slim[0], graph)
    if names is None:
        return Difference(exactness=None, change=change, layers=())
    alike = _renamed(slim[0], graph, names)
    return Difference(
        exactness=exactness(dense, dense_parameters, kept, (alike, slim[1]), inputs),
        change=change,
        layers=tuple(_different((graph, parameters), (alike, slim[1]))),
    )


def _in_order(layers: Layers, slim: Layers) -> list[Layer]:
    """The slim network's layers beside the dense one's: by their names, or else in order."""
    alike = layers.keys() == slim.keys()
    own = [slim[name] for name in layers] if alike else list(slim.values())
    if [layer.node.operator for layer in layers.values()] != [each.node.operator for each in own]:
        raise VerificationError(
            f"the slim network has {len(own)} layers with kernels, the dense one {len(layers)}, or "
            "they are of other kinds: it is no network of fewer channels"
        )
    return own


def _costs(
    layer: Layer, slim: Layer, arrays: Arrays, slim_arrays: Arrays, kept: Mask
) -> NDArray[np.float64]:
    """How unlike each dense filter is to each slim one: (F, F'), infinite where it cannot be it."""
    costs = np.full((layer.filters, slim.filters), np.inf)
    if layer.window != slim.window:
        return costs
    rows = by_filter(layer, arrays[layer.kernel]).double()
    own = by_filter(slim, slim_arrays[slim.kernel]).double().flatten(1)
    read = kept[layer.contraction.read].reshape(layer.groups, -1)
    each = layer.filters // layer.groups
    for group, columns in enumerate(read):
        part = slice(group * each, (group + 1) * each)
        theirs = rows[part][:, torch.from_numpy(columns)].flatten(1)
        if theirs.shape[1] == own.shape[1]:
            turned, away = _unlike(theirs, own)
            costs[part] = (turned + SIZE * away).numpy()
    for name, slim_name in _vectors(layer, slim):
        a, b = (found.double().flatten() for found in (arrays[name], slim_arrays[slim_name]))
        if (len(a), len(b)) == costs.shape:
            costs += UNEQUAL * (a[:, None] != b).numpy()
    return costs


def _vectors(layer: Layer, slim: Layer) -> Iterator[tuple[str, str]]:
    """The arrays of two layers that hold a number for each filter."""
    if layer.bias is not None and slim.bias is not None:
        yield layer.bias, slim.bias
    if layer.norm is not None and slim.norm is not None:
        for kind in ("scale", "bias", "mean", "variance"):
            yield getattr(layer.norm, kind), getattr(slim.norm, kind)


def _unlike(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """How unlike each row of a is to each of b in direction, and in all: 0 for equal ones."""
    product = a @ b.T
    sizes = a.square().sum(1)[:, None], b.square().sum(1)[None]
    scale, total = (sizes[0] * sizes[1]).sqrt(), sizes[0] + sizes[1]
    nothing = torch.where(total > 0, 1.0, 0.0)
    turned = torch.where(scale > 0, 1 - product.abs() / scale.clamp(min=TINY), nothing)
    away = torch.where(total > 0, (total - 2 * product) / total.clamp(min=TINY), 0.0)
    return turned.clamp(min=0), away.clamp(min=0)


def _aligned(costs: NDArray[np.float64], must: Mask) -> list[int] | None:
    """The rows, ascending, one a column, that cost least together; None if there are none such.

    Rows that `must` be among them are.
    """
    rows, columns = costs.shape
    best = np.full(columns + 1, np.inf)
    best[0] = 0
    taken = np.zeros((rows, columns + 1), np.bool_)
    for row in range(rows):
        with_it = np.append(np.inf, best[:-1] + costs[row])
        without = np.full_like(best, np.inf) if must[row] else best
        taken[row] = with_it <= without
        best = np.minimum(with_it, without)
    if not np.isfinite(best[columns]):
        return None
    chosen, left = [], columns
    for row in reversed(range(rows)):
        if left and taken[row, left]:
            chosen.append(row)
            left -= 1
    return chosen[::-1]


def _names(slim: Graph, graph: Graph) -> dict[str, str] | None:
    """What the values of a slim graph are called in another of the same operators; or None."""
    if [node.operator for node in slim.nodes] != [node.operator for node in graph.nodes]:
        return None
    if (len(slim.inputs), len(slim.outputs)) != (len(graph.inputs), len(graph.outputs)):
        return None
    names = dict(zip(slim.inputs, graph.inputs, strict=True))
    for own, node in zip(slim.nodes, graph.nodes, strict=True):
        if len(own.outputs) != len(node.outputs):
            return None
        names |= dict(zip(own.outputs, node.outputs, strict=True))
    return names


def _renamed(slim: Graph, graph: Graph, names: Mapping[str, str]) -> Graph:
    """The slim graph with the other's names for nodes and values."""
    return replace(
        slim,
        inputs={names[name]: value for name, value in slim.inputs.items()},
        outputs={names.get(name, name): value for name, value in slim.outputs.items()},
        nodes=tuple(
            replace(
                own,
                name=node.name,
                inputs=tuple(names.get(name, name) for name in own.inputs),
                outputs=node.outputs,
            )
            for own, node in zip(slim.nodes, graph.nodes, strict=True)
        ),
    )


def _different(expected: tuple[Graph, Arrays], found: tuple[Graph, Arrays]) -> Iterator[str]:
    """The nodes that read other arrays than they should."""
    theirs, own = (arrays_of(*each) for each in (expected, found))
    for node, slim in zip(expected[0].nodes, found[0].nodes, strict=True):
        pairs = [
            (theirs[name], own.get(other))
            for name, other in zip(node.inputs, slim.inputs, strict=False)
            if name in theirs
        ]
        if any(b is None or a.shape != b.shape or not torch.equal(a, b) for a, b in pairs):
            yield node.name
