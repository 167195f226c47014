"""Arrays that are computed from parameters alone: cut where they come from.

A kernel may be the product of a gain and a direction, a dequantized table, or stored in another
shape. What is to be cut of such a value is followed back to the readings of the arrays that it is
computed from: each of those loses what computes what goes.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family, integer, integers
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.labels.families import VECTORS, reduced_axes
from yoloprune.pruning.labels.ids import Ids, reshaped, varying
from yoloprune.pruning.labels.walk import Walk, title

IN_ORDER = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Operators that give what they read in the same order."""


def through_arrays(walk: Walk) -> None:
    """Follow what is to be cut of computed arrays back to arrays of the graph.

    Channels stay where an array is read whole somewhere, or comes about in a way that is not
    followed.
    """
    if not walk.wanted:
        return
    readers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for node in walk.graph.nodes:
        for position, name in enumerate(node.inputs):
            readers[name].append((node.name, position))
    for node in reversed(walk.graph.nodes):
        for name in node.outputs:
            wanted = [walk.wanted.get(reading, {}) for reading in readers[name]]
            if name not in walk.values and any(wanted):
                axes = _common(walk, node, name, wanted)
                walk.computed[name] = axes
                _pass_on(walk, node, axes)


def _common(
    walk: Walk, node: Node, name: str, wanted: Sequence[Mapping[int, Ids]]
) -> dict[int, Ids]:
    """The axes along which all readers of a value let the same entries go."""
    axes: dict[int, Ids] = {}
    for axis in sorted({axis for own in wanted for axis in own}):
        found = [own[axis] for own in wanted if axis in own]
        if len(found) < len(wanted) or name in walk.graph.outputs:
            for ids in found:
                walk.freeze(ids, f"cut from {name}, which is read whole elsewhere")
            continue
        for other in found[1:]:
            walk.unite(found[0], other, node)
        axes[axis] = found[0]
    return axes


def _pass_on(walk: Walk, node: Node, axes: Mapping[int, Ids]) -> None:
    """From a computed array to what its node reads."""
    found: dict[int, dict[int, Ids]] = defaultdict(dict)
    for axis, ids in axes.items():
        if len(ids) == 1:
            continue  # The only one is never removed.
        rank = len(walk.facts.shapes[node.outputs[0]])
        places = ids.reshape([-1 if own == axis else 1 for own in range(rank)])
        sources = list(_sources(walk, node, axis, places))
        clear = all(len(varying(own)) == 1 for _, own in sources)
        along = [(position, varying(own)[0], own.reshape(-1)) for position, own in sources if clear]
        if not along or any(own in found[position] for position, own, _ in along):
            walk.freeze(ids, f"cut from what {title(node)} computes")
            continue
        for position, own, part in along:
            found[position][own] = part
    for position, own_axes in found.items():
        walk.cut_with(node, position, own_axes)


def _sources(walk: Walk, node: Node, axis: int, ids: Ids) -> Iterator[tuple[int, Ids]]:
    """The inputs that a node computes what is cut from, with ids along their own axes.

    Nothing where that is not known; inputs that are the same for all entries are left out.
    """
    shapes = [walk.facts.shapes.get(name, ()) for name in node.inputs]
    row = OPERATORS.get(node.operator)
    family = Family.OTHER if row is None else row.family
    if len(node.outputs) > 1:
        return
    if node.operator in IN_ORDER:
        yield 0, reshaped(ids, walk.facts.shapes[node.outputs[0]], shapes[0])
    elif node.operator == "Transpose":
        order = integers(node, "perm") or tuple(range(ids.ndim))[::-1]
        yield 0, ids.transpose(np.argsort(order))
    elif node.operator == "Concat":
        own = integer(node, "axis", 0) % ids.ndim
        ends = np.cumsum([shape[own] for shape in shapes])
        parts = np.split(ids, ends[:-1], axis=own) if own == axis else [ids] * len(shapes)
        yield from enumerate(parts)
    elif node.operator in VECTORS and family is Family.ELEMENTWISE:
        if any(len(shape) > 1 for shape in shapes[1:]):
            return  # Numbers for blocks of entries.
        yield 0, ids
        over = integer(node, "axis", 1) % ids.ndim
        for position in VECTORS[node.operator]:
            if position < len(shapes) and axis == over and shapes[position] == (ids.size,):
                yield position, ids.reshape(-1)
    elif family is Family.ELEMENTWISE or node.operator == "Expand":
        for position, shape in enumerate(shapes):
            own = axis - ids.ndim + len(shape)
            if node.inputs[position] and own >= 0 and shape[own] == ids.size:
                yield position, ids.reshape(ids.shape[ids.ndim - len(shape) :])
    elif family is Family.REDUCTION:
        gone = reduced_axes(walk, node, len(shapes[0]))
        if gone is not None:
            kept = [own for own in range(len(shapes[0])) if own not in gone]
            own = axis if integer(node, "keepdims", 1) else kept[axis]
            yield 0, ids.reshape([-1 if n == own else 1 for n in range(len(shapes[0]))])
