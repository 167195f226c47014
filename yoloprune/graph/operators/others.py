"""Operators that compute in a way that channels cannot be followed through."""

import math
import string
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import (
    Arrays,
    Family,
    Operator,
    Shape,
    Shapes,
    Tensors,
    at,
    axis_of,
    given,
    integer,
    known_integers,
    refused,
    text,
    untold,
)
from yoloprune.graph.operators.rules import as_first
from yoloprune.graph.operators.tensors import told


def _topk_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axis = axis_of(node, integer(node, "axis", -1), len(shape))
    (count,) = known_integers(node, known, 1)
    return ((*shape[:axis], count, *shape[axis + 1 :]),) * 2


def _topk(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    axis = axis_of(node, integer(node, "axis", -1), x.dim())
    (count,) = told(node, inputs, 1)
    # Of equals ONNX wants the first; torch's own topk takes any.
    largest = bool(integer(node, "largest", 1))
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def spelled(node: Node, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of the axes of each input of an `Einsum`, of so many axes, and of its output.

    Axes that an ellipsis stands for get letters of their own.
    """
    terms, arrow, output = text(node, "equation", "").replace(" ", "").partition("->")
    inputs = terms.split(",")
    if len(inputs) != len(ranks):
        raise refused(node, f"reads {len(ranks)} values by an equation of {len(inputs)}")
    unused = [letter for letter in string.ascii_letters if letter not in terms]
    lengths = [rank - len(own.replace("...", "")) for own, rank in zip(inputs, ranks, strict=True)]
    if any(n < 0 or (n and "..." not in own) for own, n in zip(inputs, lengths, strict=True)):
        raise refused(node, f"has an equation that does not fit values of {tuple(ranks)} axes")
    most = max(lengths, default=0)
    if most > len(unused):
        raise refused(node, "has more axes than there are letters")
    common = "".join(unused[:most])
    found = [
        own.replace("...", common[most - length :])
        for own, length in zip(inputs, lengths, strict=True)
    ]
    letters = "".join(found)
    if not arrow:
        single = (letter for letter in set(letters) - set(common) if letters.count(letter) == 1)
        output = "..." + "".join(sorted(single))
    output = output.replace("...", common)
    if not set(output) <= set(letters) or not (letters + output).isascii():
        raise refused(node, "gives axes that it does not read")
    return found, output


def _einsum_sizes(node: Node, shapes: Shapes) -> tuple[str, dict[str, int]]:
    """The output's letters, and the size of each letter."""
    read = [given(node, shapes, position) for position in range(len(node.inputs))]
    terms, output = spelled(node, [len(shape) for shape in read])
    sizes: dict[str, int] = {}
    for letters, shape in zip(terms, read, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            if 1 != sizes.setdefault(letter, size) != size != 1:
                raise refused(node, f"multiplies {' and '.join(map(str, read))}")
            sizes[letter] = max(size, sizes[letter])
    return output, sizes


def _einsum_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    output, sizes = _einsum_sizes(node, shapes)
    return (tuple(sizes[letter] for letter in output),)


def _einsum(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    operands = [given(node, inputs, position) for position in range(len(node.inputs))]
    terms, output = spelled(node, [operand.dim() for operand in operands])
    return (torch.einsum(f"{','.join(terms)}->{output}", *operands),)


def _einsum_macs(node: Node, inputs: Shapes, outputs: Sequence[Shape]) -> int:
    return math.prod(_einsum_sizes(node, inputs)[1].values()) if len(inputs) > 1 else 0


def _cumsum(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    (axis,) = told(node, inputs, 1)
    axis = axis_of(node, axis, x.dim())
    backwards = bool(integer(node, "reverse", 0))
    ordered = x.flip(axis) if backwards else x
    total = torch.cumsum(ordered, axis, dtype=x.dtype)
    if integer(node, "exclusive", 0):
        total = total - ordered
    return (total.flip(axis) if backwards else total,)


def _trilu(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    offset = at(inputs, 1)
    function = torch.triu if integer(node, "upper", 1) else torch.tril
    return (function(given(node, inputs, 0), 0 if offset is None else int(offset.item())),)


def _one_hot_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    axis = axis_of(node, integer(node, "axis", -1), len(shape) + 1)
    (depth,) = known_integers(node, known, 1)
    return ((*shape[:axis], depth, *shape[axis:]),)


def _one_hot(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    indices, values = given(node, inputs, 0), given(node, inputs, 2)
    (depth,) = told(node, inputs, 1)
    axis = axis_of(node, integer(node, "axis", -1), indices.dim() + 1)
    places = torch.where(indices < 0, indices + depth, indices).unsqueeze(axis)
    shape = [1] * (indices.dim() + 1)
    shape[axis] = -1
    hot = places == torch.arange(depth, device=indices.device).reshape(shape)
    off, on = values.to(indices.device)
    return (torch.where(hot, on, off),)


def _suppression_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    raise untold(node)


def _suppression(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    boxes, scores = given(node, inputs, 0), given(node, inputs, 1)
    if integer(node, "center_point_box", 0):
        middle, size = boxes[..., :2], boxes[..., 2:]
        low, high = middle - size / 2, middle + size / 2
    else:
        low = torch.minimum(boxes[..., :2], boxes[..., 2:])
        high = torch.maximum(boxes[..., :2], boxes[..., 2:])
    limits = [at(inputs, position) for position in (2, 3, 4)]
    most = 0 if limits[0] is None else int(limits[0].item())
    overlap = 0.0 if limits[1] is None else float(limits[1].item())
    found = []
    for image, classes in enumerate(scores):
        for label, confidence in enumerate(classes):
            order = torch.argsort(confidence, descending=True, stable=True)
            if limits[2] is not None:
                order = order[confidence[order] > limits[2].item()]
            kept = _greedy(low[image], high[image], order, most, overlap)
            found += [(image, label, box) for box in kept]
    return (torch.tensor(found, dtype=torch.int64, device=boxes.device).reshape(-1, 3),)


def _greedy(low: Tensor, high: Tensor, order: Tensor, most: int, overlap: float) -> list[int]:
    """The best boxes, at most so many, none of which overlaps a better one by more."""
    kept: list[int] = []
    area = (high - low).prod(-1)
    while len(order) and len(kept) < most:
        best = order[0]
        kept.append(int(best))
        rest = order[1:]
        corners = torch.minimum(high[best], high[rest]) - torch.maximum(low[best], low[rest])
        shared = corners.clamp(min=0).prod(-1)
        order = rest[shared <= overlap * (area[best] + area[rest] - shared)]
    return kept


OTHERS: Mapping[str, Operator] = {
    "CumSum": Operator(family=Family.OTHER, compute=_cumsum, shape=as_first),
    "Einsum": Operator(
        family=Family.CONTRACTION, compute=_einsum, shape=_einsum_shape, macs=_einsum_macs
    ),
    "NonMaxSuppression": Operator(
        family=Family.OTHER, compute=_suppression, shape=_suppression_shape
    ),
    "OneHot": Operator(family=Family.OTHER, compute=_one_hot, shape=_one_hot_shape),
    "TopK": Operator(family=Family.OTHER, compute=_topk, shape=_topk_shape),
    "Trilu": Operator(family=Family.OTHER, compute=_trilu, shape=as_first),
}
