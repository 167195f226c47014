"""A rule a family of operators: what it does to channel ids."""

import math

import numpy as np

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import integer
from yoloprune.pruning.labels.ids import NONE, Ids, aligned, lean, no_channels, varying
from yoloprune.pruning.labels.labels import Partition, Sum
from yoloprune.pruning.labels.moves import Move, is_equal, move, pieces
from yoloprune.pruning.labels.walk import Walk, title

VECTORS = {
    "BatchNormalization": (1, 2, 3, 4),
    "DequantizeLinear": (1, 2),
    "InstanceNormalization": (1, 2),
    "QuantizeLinear": (1, 2),
}
"""Inputs that hold a number a channel, which is along `axis`, or 1."""

SUMS = frozenset({"ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"})
"""Reductions to which a channel of zeros adds nothing."""

LOOKS = {"CastLike": 1}
"""Operators that look at no numbers of what they read from this input on."""

PARTS = frozenset({"Slice", "Split", "Gather"})
"""Moves that may take some of the channels and leave others."""


def unknown(walk: Walk, node: Node, reason: str | None = None) -> None:
    """What is read stays, and what is given has no channels."""
    for name in node.inputs:
        if name in walk.values:
            walk.freeze(walk.values[name], reason or f"read by {title(node)}")
    for name in filter(None, node.outputs):
        if name not in walk.facts.known:
            walk.values[name] = no_channels(len(walk.facts.shapes[name]))


TOLD = {"Expand": 1, "Reshape": 1, "Resize": 3, "Split": 1, "Squeeze": 1, "Tile": 1, "Unsqueeze": 1}
"""The input in which an operator reads sizes, counts or axes."""


def _is_told(walk: Walk, node: Node) -> bool:
    """Whether sizes that a node reads are known beforehand, if it reads any."""
    told = node.inputs[TOLD[node.operator] :][:1] if node.operator in TOLD else ()
    return all(not name or name in walk.facts.known for name in told)


def moved(walk: Walk, node: Node) -> None:
    """Ids move as the data do."""
    if not _is_told(walk, node):
        unknown(walk, node, f"moved by {title(node)}, whose sizes are computed")
        return
    if node.operator == "DepthToSpace":
        _depth_to_space(walk, node)
        return
    shapes, known = walk.facts.shapes, walk.facts.known
    before = [shapes.get(name, ()) for name in node.inputs]
    ids = [
        walk.values.get(name, no_channels(len(shape)))
        for name, shape in zip(node.inputs, before, strict=True)
    ]
    found = move(
        Move(
            node=node,
            ids=tuple(ids),
            before=tuple(before),
            after=tuple(shapes[name] for name in node.outputs if name),
            known={n: known[name] for n, name in enumerate(node.inputs) if name in known},
        )
    )
    if found is None:
        unknown(walk, node, f"moved by {title(node)}, whose order is computed")
        return
    for name, result in zip(filter(None, node.outputs), found, strict=True):
        walk.values[name] = result
    if node.operator != "Concat":
        for other in ids[1:]:
            # What says which ones to take does not move on, and nothing else would hear it go.
            if other.any():
                walk.freeze(other, f"read as indices by {title(node)}")
    if node.operator == "Concat":
        _joins(walk, node)
    if node.operator in PARTS and len(varying(ids[0])) > 0:
        _parts(walk, node, ids[0], found)


def _joins(walk: Walk, node: Node) -> None:
    """Channels beside which a constant stands along another axis cannot leave it."""
    result = walk.values[node.outputs[0]]
    if len(varying(result)) > 1 and (result == NONE).any():
        walk.freeze(result, f"stands beside what has no channels in {title(node)}")


def _parts(walk: Walk, node: Node, ids: Ids, found: list[Ids]) -> None:
    """Some of a value's channels apart: they must not all go, and equal parts stay equal."""
    if node.operator == "Split" and is_equal(node) and len(varying(ids)) == 1:
        axis = integer(node, "axis", 0) % ids.ndim
        size = walk.facts.shapes[node.inputs[0]][axis]
        if ids.shape[axis] == 1:
            return
        if size % len(node.outputs) == 0:
            flat = walk.along(ids, axis, size, node)
            walk.partitions.append(Partition(ids=flat, parts=len(node.outputs)))
            return
    count = len(np.unique(ids))
    for result in found:
        # A gather may take one channel several times: what counts is how many differ.
        own = np.unique(result)
        if len(own) < count and own.any():
            walk.subsets.append(own)


def _depth_to_space(walk: Walk, node: Node) -> None:
    ids = walk.values[node.inputs[0]]
    if ids.shape[1] == 1:
        walk.values[node.outputs[0]] = ids
        return
    first, *others = pieces(ids, node)
    for other in others:
        walk.unite(first, other, node)
    walk.values[node.outputs[0]] = first


def elementwise(walk: Walk, node: Node) -> None:
    """Elements that are computed from one another belong to one channel."""
    if node.operator in VECTORS:
        _with_vectors(walk, node)
        return
    inputs = node.inputs[: LOOKS.get(node.operator)]
    read = [name for name in inputs if name in walk.values]
    result = _broadcast(walk, node, _met(walk, node, read))
    for position, name in enumerate(inputs):
        if name and name not in walk.values:
            result = _beside(walk, node, position, result)
    walk.values[node.outputs[0]] = result


def _with_vectors(walk: Walk, node: Node) -> None:
    """An operator with a number for each channel along an axis."""
    ids = walk.values.get(node.inputs[0])
    if ids is None:
        unknown(walk, node)
        return
    for name in node.inputs[1:]:
        if name in walk.values:
            unknown(walk, node)
            return
    shape = walk.facts.shapes[node.inputs[0]]
    axis = integer(node, "axis", 1) % max(1, len(shape))
    own = None
    for position in VECTORS[node.operator]:
        if position < len(node.inputs) and node.inputs[position]:
            vector = walk.facts.shapes[node.inputs[position]]
            if len(vector) == 1 and (vector[0] > 1 or shape[axis] == 1):
                if own is None:
                    own = walk.along(ids, axis, shape[axis], node)
                walk.cut_with(node, position, {0: own})
    if own is not None and own.any():
        ids = lean(own.reshape([len(own) if number == axis else 1 for number in range(len(shape))]))
    walk.values[node.outputs[0]] = ids


def _met(walk: Walk, node: Node, names: list[str]) -> Ids:
    """Ids of a result whose elements are computed from elements of several values."""
    shape = walk.facts.shapes[node.outputs[0]]
    rank = len(shape)
    ids = [aligned(walk.values[name], rank) for name in names]
    sizes = [(1,) * (rank - len(own)) + own for own in (walk.facts.shapes[name] for name in names)]

    def repeated(n: int) -> list[int]:
        """The axes along which an operand has one element for several channels."""
        differs = {axis for own in ids for axis in varying(own)}
        return [axis for axis in differs if sizes[n][axis] == 1 < shape[axis]]

    for n in range(len(ids)):
        if varying(ids[n]):
            # Its channels lie along another axis: along this one they are all the same.
            for axis in repeated(n):
                ids = [walk.flat(own, axis, node) for own in ids]
    result: Ids | None = None
    for n, own in enumerate(ids):
        if repeated(n):
            # One channel for many: it can only go with all of them.
            walk.freeze(own, f"broadcast by {title(node)}")
        elif result is None:
            result = own
        elif result.shape != own.shape or (result != own).any():
            walk.unite(result, own, node)
            a, b = np.broadcast_arrays(result, own)
            result = lean(np.where(a == NONE, b, a))
    return no_channels(rank) if result is None else result


def _broadcast(walk: Walk, node: Node, result: Ids) -> Ids:
    """A single channel that becomes several must stay: it could only go with all of them."""
    shapes = walk.facts.shapes
    inputs = node.inputs[: LOOKS.get(node.operator)]
    read = (shapes[name] for name in inputs if name in walk.values)
    if result.size > 1 or not result.any():
        return result
    if all(math.prod(own) == math.prod(shapes[node.outputs[0]]) for own in read):
        return result
    walk.freeze(result, f"broadcast by {title(node)}")
    return no_channels(result.ndim)


def _beside(walk: Walk, node: Node, position: int, result: Ids) -> Ids:
    """An array that is read along the axes of channels loses entries with them."""
    shape = walk.facts.shapes[node.inputs[position]]
    offset = result.ndim - len(shape)
    full = [axis for axis in varying(result) if axis >= offset and shape[axis - offset] > 1]
    if len(full) > 1:
        # An array can lose whole rows and columns only.
        longest = max(full, key=lambda axis: result.shape[axis])
        own = walk.along(result, longest, result.shape[longest], node)
        result = own.reshape([-1 if axis == longest else 1 for axis in range(result.ndim)])
        full = [longest]
    for axis in full:
        own = walk.along(result, axis, result.shape[axis], node)
        walk.cut_with(node, position, {axis - offset: own})
    return result


def spatial(walk: Walk, node: Node) -> None:
    """What computes within each channel of an image (B, C, ...)."""
    if node.operator in VECTORS:
        _with_vectors(walk, node)
        return
    name, output = node.inputs[0], node.outputs[0]
    if name not in walk.values or len(node.outputs) > 1 or not _is_told(walk, node):
        unknown(walk, node)
        return
    before, after = walk.facts.shapes[name], walk.facts.shapes[output]
    ids = walk.values[name]
    if before[1] != after[1]:
        unknown(walk, node)
        return
    for place in node.inputs[1:]:
        # Where to look in an image: nobody would hear a number of that go.
        if place in walk.values:
            walk.freeze(walk.values[place], f"read as places by {title(node)}")
    own = walk.along(ids, 1, before[1], node)
    walk.values[output] = lean(own.reshape([1, -1] + [1] * (len(after) - 2)))


def reduction(walk: Walk, node: Node) -> None:
    """Sums over channels count removed ones as zeros; other reductions over them freeze them."""
    name, output = node.inputs[0], node.outputs[0]
    ids = walk.values[name]
    axes = reduced_axes(walk, node, ids.ndim)
    if axes is None:
        unknown(walk, node)
        return
    over = [axis for axis in varying(ids) if axis in axes]
    if over and node.operator not in SUMS:
        unknown(walk, node, f"reduced over channels by {title(node)}")
        return
    if over:
        axis = over[0]
        own = walk.along(ids, axis, ids.shape[axis], node)
        shape = [-1 if number == axis else 1 for number in range(ids.ndim)]
        walk.sums.append(Sum(node=node.name, input=0, ids=own.reshape(shape)))
        ids = no_channels(ids.ndim)
    if not node.attributes.get("keepdims", 1):
        ids = ids.reshape([size for axis, size in enumerate(ids.shape) if axis not in axes])
    walk.values[output] = ids


def reduced_axes(walk: Walk, node: Node, rank: int) -> list[int] | None:
    """The axes that a reduction is over; None where they are not known."""
    found = node.attributes.get("axes")
    if found is None and len(node.inputs) > 1 and node.inputs[1]:
        if node.inputs[1] not in walk.facts.known:
            return None
        found = tuple(walk.facts.known[node.inputs[1]].reshape(-1).tolist())
    if node.operator.startswith("Arg"):
        found = (integer(node, "axis", 0),)
    if not isinstance(found, tuple) or not found:
        return [] if node.attributes.get("noop_with_empty_axes") else list(range(rank))
    return [int(axis) % rank for axis in found]


TO_THE_END = ("LayerNormalization", "RMSNormalization")
"""Operators that normalize over all axes from one on."""


def normalizer(walk: Walk, node: Node) -> None:
    """What is normalized over channels needs all of them."""
    name, output = node.inputs[0], node.outputs[0]
    if name not in walk.values or len(node.outputs) > 1 or node.operator == "LRN":
        unknown(walk, node)
        return
    if node.operator == "GroupNormalization":
        _in_groups(walk, node)
        return
    ids = walk.values[name]
    first = integer(node, "axis", -1) % ids.ndim
    flattens = node.operator in ("Softmax", "LogSoftmax", "Hardmax") and walk.graph.opset < 13
    if flattens and "axis" not in node.attributes:
        first = 1 % ids.ndim
    last = ids.ndim if flattens or node.operator in TO_THE_END else first + 1
    if any(first <= axis < last for axis in varying(ids)):
        walk.freeze(ids, f"normalized over channels by {title(node)}")
    for position, scale in enumerate(node.inputs[1:], 1):
        if scale in walk.values:
            unknown(walk, node)
            return
        if scale:
            # It may be broadcast beside what is normalized.
            ids = _beside(walk, node, position, ids)
    walk.values[output] = ids


def _in_groups(walk: Walk, node: Node) -> None:
    """A group of channels that are normalized together stays or goes whole."""
    name = node.inputs[0]
    shape = walk.facts.shapes[name]
    own = walk.along(walk.values[name], 1, shape[1], node)
    each = shape[1] // integer(node, "num_groups", 1)
    walk.unite(np.repeat(own[::each], each), own, node)
    for position in (1, 2):
        # Before opset 21 a group had a number, not a channel.
        walk.cut_with(node, position, {0: own if walk.graph.opset >= 21 else own[::each]})
    walk.values[node.outputs[0]] = lean(own.reshape([1, -1] + [1] * (len(shape) - 2)))
