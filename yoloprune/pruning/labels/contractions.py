"""Contractions: operators that sum over channels and give birth to others."""

import numpy as np

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import integer
from yoloprune.graph.operators.others import spelled
from yoloprune.pruning.labels.families import unknown
from yoloprune.pruning.labels.ids import Ids, aligned, lean, no_channels, varying
from yoloprune.pruning.labels.labels import Contraction, Partition, Sum
from yoloprune.pruning.labels.walk import Walk, title


def contraction(walk: Walk, node: Node) -> None:
    """Give birth to the channels of a product with a kernel, and note what it reads."""
    data = [position for position, name in enumerate(node.inputs) if name in walk.values]
    if node.operator == "MatMul" and data == [0, 1]:
        _product(walk, node)
    elif node.operator == "Einsum":
        _einsum(walk, node, data)
    elif data != [0] or node.inputs[1] in walk.facts.static or _holds_none(walk, node.inputs[1]):
        unknown(walk, node)
    elif node.operator in ("Conv", "ConvTranspose"):
        _convolution(walk, node)
    elif node.operator == "Gemm":
        _gemm(walk, node)
    elif node.operator == "MatMul":
        _linear(walk, node)
    else:
        unknown(walk, node)


def _holds_none(walk: Walk, name: str) -> bool:
    """Whether an array holds no real numbers, as every kernel does that was trained."""
    parameter, constant = walk.graph.parameters.get(name), walk.graph.constants.get(name)
    dtype = constant.dtype.name if constant is not None else parameter.dtype if parameter else ""
    other = bool(dtype) and not dtype.startswith(("float", "bfloat"))
    return other or 0 in walk.facts.shapes[name]


def _convolution(walk: Walk, node: Node) -> None:
    """Kernels are (F, C / g, ...) and those of `ConvTranspose` (C, F / g, ...)."""
    before, after = (walk.facts.shapes[name] for name in (node.inputs[0], node.outputs[0]))
    columns = walk.along(walk.values[node.inputs[0]], 1, before[1], node)
    filters = walk.born(after[1])
    groups = integer(node, "group", 1)
    transposed = node.operator == "ConvTranspose"
    found = _add(walk, node, filters, columns, filter_axis=1 if transposed else 0, groups=groups)
    if found.depthwise:
        # One input channel a group: it and what it gives go together.
        walk.unite(np.repeat(columns, after[1] // groups), filters, node)
    elif groups > 1:
        walk.partitions.append(Partition(ids=columns, parts=groups))
        walk.partitions.append(Partition(ids=filters, parts=groups))
    if len(node.inputs) > 2 and node.inputs[2]:
        walk.cut_with(node, 2, {0: filters})
    walk.values[node.outputs[0]] = filters.reshape([1, -1] + [1] * (len(after) - 2))


def _gemm(walk: Walk, node: Node) -> None:
    """(M, K) times (K, N), or (N, K) with `transB`, plus what broadcasts to (M, N)."""
    ids = walk.values[node.inputs[0]]
    if node.attributes.get("transA"):
        unknown(walk, node)
        return
    turned = bool(node.attributes.get("transB"))
    inner = walk.facts.shapes[node.inputs[0]][1]
    columns = walk.along(ids, 1, inner, node)
    filters = walk.born(walk.facts.shapes[node.outputs[0]][1])
    _add(walk, node, filters, columns, filter_axis=0 if turned else 1)
    if len(node.inputs) > 2 and node.inputs[2]:
        shape = walk.facts.shapes[node.inputs[2]]
        if shape and shape[-1] == len(filters):
            walk.cut_with(node, 2, {len(shape) - 1: filters})
    walk.values[node.outputs[0]] = filters.reshape(1, -1)


def _linear(walk: Walk, node: Node) -> None:
    """(..., K) times a kernel (K, N)."""
    ids = walk.values[node.inputs[0]]
    shape = walk.facts.shapes[node.inputs[1]]
    other = [axis for axis in varying(ids) if axis < ids.ndim - 1]
    if len(shape) != 2:
        unknown(walk, node)
        return
    if other and ids.shape[-1] == 1:
        # Channels that are not summed over stay beside what the kernel gives.
        walk.values[node.outputs[0]] = ids
        return
    columns = walk.along(ids, ids.ndim - 1, walk.facts.shapes[node.inputs[0]][-1], node)
    filters = walk.born(shape[1])
    _add(walk, node, filters, columns, filter_axis=1)
    walk.values[node.outputs[0]] = filters.reshape([1] * (ids.ndim - 1) + [-1])


def _add(
    walk: Walk, node: Node, filters: Ids, read: Ids, *, filter_axis: int, groups: int = 1
) -> Contraction:
    found = Contraction(
        node=node.name,
        input=1,
        name=node.inputs[1],
        filter_axis=filter_axis,
        column_axis=1 - filter_axis,
        groups=groups,
        filters=filters,
        read=read,
    )
    walk.contractions.append(found)
    if not walk.is_array(found.name):
        _want(walk, node, found)
    return found


def _want(walk: Walk, node: Node, found: Contraction) -> None:
    """Let a computed kernel lose filters and columns, as it does where all groups do alike."""
    axes = {found.filter_axis: found.filters, found.column_axis: found.columns}
    if found.depthwise:
        axes = {0: found.filters if found.filter_axis == 0 else found.read}
    elif found.groups > 1:
        walk.freeze(axes.pop(1), f"a column of groups of {found.name}, which is computed")
    walk.cut_with(node, found.input, axes)


def _product(walk: Walk, node: Node) -> None:
    """(..., M, K) times (..., K, N), both computed: channels along K meet in a sum.

    Along the axes in front lie matrices of their own (heads of attention): they share nothing but
    how many channels each has.
    """
    rank = len(walk.facts.shapes[node.outputs[0]])
    first, second = (walk.values[name] for name in node.inputs)
    if min(first.ndim, second.ndim) < 2:
        unknown(walk, node)
        return
    a, over_a = _one_axis(walk, node, 0)
    b, over_b = _one_axis(walk, node, 1)
    if over_a == -1 or over_b == -2:
        a_inner = a[..., 0, :] if over_a == -1 else no_channels(1)
        b_inner = b[..., 0] if over_b == -2 else no_channels(1)
        walk.unite(a_inner, b_inner, node)
        for position, ids, inner in ((0, a, over_a == -1), (1, b, over_b == -2)):
            if inner:
                walk.sums.append(Sum(node=node.name, input=position, ids=ids))
    outer = [(ids, own) for ids, axis, own in ((a, over_a, -2), (b, over_b, -1)) if axis == own]
    result = no_channels(rank)
    if len(outer) == 2:
        for ids, _ in outer:
            walk.freeze(ids, f"crossed with other channels by {title(node)}")
    elif outer:
        ids, axis = outer[0]
        result = lean(aligned(ids, rank))
        walk.lines[node.outputs[0]] = rank + axis
    walk.values[node.outputs[0]] = result


def _one_axis(walk: Walk, node: Node, position: int) -> tuple[Ids, int | None]:
    """Ids of which those of each matrix differ along one axis, and that axis, from behind.

    The longer of the two stays; along the other channels become one.
    """
    name = node.inputs[position]
    ids = walk.values[name]
    if not ids.any():
        return ids, None
    axis = max((-1, -2), key=lambda axis: ids.shape[axis])
    if ids.shape[axis] == 1:
        walk.freeze(ids, f"read beside its channels by {title(node)}")
        return no_channels(ids.ndim), None
    ids = walk.flat(ids, ids.ndim - 3 - axis, node)
    if walk.lines.setdefault(name, ids.ndim + axis) != ids.ndim + axis:
        # Others take lines along the other axis: matrices lose the same channels alike.
        walk.along(ids, ids.ndim + axis, ids.shape[axis], node)
    return ids, axis


def _einsum(walk: Walk, node: Node, data: list[int]) -> None:
    """A product of two computed values whose axes have letters: of each, channels along one axis.

    Those along an axis that is not given are summed over; an axis that both have, they have alike.
    """
    letters, given = spelled(node, [len(walk.facts.shapes[name]) for name in node.inputs])
    if data != [0, 1] or any(len(set(own)) < len(own) for own in letters):
        unknown(walk, node)
        return
    found = [_longest(walk, node, position) for position in data]
    outer = []
    for position, (ids, axis) in enumerate(found):
        if axis is None:
            continue
        letter, (other, other_axis) = letters[position][axis], found[1 - position]
        along = ids.reshape(-1)
        if letter in letters[1 - position]:
            alike = other_axis is not None and letters[1 - position][other_axis] == letter
            walk.unite(along, other.reshape(-1) if alike else no_channels(1), node)
        if letter in given:
            outer.append((along, given.index(letter)))
        else:
            walk.sums.append(Sum(node=node.name, input=position, ids=ids))
    result = no_channels(len(given))
    if len({axis for _, axis in outer}) > 1:
        for ids, _ in outer:
            walk.freeze(ids, f"crossed with other channels by {title(node)}")
    elif outer:
        ids, axis = outer[0]
        result = ids.reshape([-1 if number == axis else 1 for number in range(len(given))])
    walk.values[node.outputs[0]] = lean(result)


def _longest(walk: Walk, node: Node, position: int) -> tuple[Ids, int | None]:
    """Ids of a value that differ along one axis, and that axis; those along others become one."""
    ids = walk.values[node.inputs[position]]
    if not ids.any():
        return ids, None
    longest = int(np.argmax(ids.shape))
    if ids.shape[longest] == 1:
        walk.freeze(ids, f"read beside its channels by {title(node)}")
        return no_channels(ids.ndim), None
    for axis in varying(ids):
        if axis != longest:
            ids = walk.flat(ids, axis, node)
    return ids, longest
