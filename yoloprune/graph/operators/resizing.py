"""Resize and Upsample: an axis after the other, each output place a sum of a few input places."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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
    integers,
    number,
    refused,
    text,
    untold,
)

Reals = NDArray[np.float64]

_TORCH_MODES = {"linear": "bilinear", "cubic": "bicubic"}
_CUBIC = -0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One axis that is resized; `scale` is what the node says, not always new / old."""

    axis: int
    old: int
    new: int
    scale: float


def _axes(
    node: Node, shape: Shape, scales: Sequence[float] | None, sizes: Sequence[int] | None
) -> list[_Axis]:
    places = [axis_of(node, axis, len(shape)) for axis in integers(node, "axes")]
    places = places or list(range(len(shape)))
    found = scales or sizes or ()
    if len(found) != len(places):
        raise refused(node, f"has {len(found)} scales or sizes for {len(places)} axes")
    if scales:
        pairs = [(math.floor(shape[a] * s), s) for a, s in zip(places, scales, strict=True)]
    else:
        ratios = [size / shape[a] for a, size in zip(places, sizes or (), strict=True)]
        policy = text(node, "keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            pairs = list(zip(sizes or (), ratios, strict=True))
        else:
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            pairs = [(math.floor(shape[a] * ratio + 0.5), ratio) for a in places]
    return [
        _Axis(axis=axis, old=shape[axis], new=new, scale=scale)
        for axis, (new, scale) in zip(places, pairs, strict=True)
        if new != shape[axis] or scale != 1
    ]


def _positions(node: Node, opset: int) -> tuple[int, int]:
    """Which inputs hold scales and sizes; sizes may be nowhere."""
    return (1, 3) if node.operator == "Upsample" or opset < 11 else (2, 3)


def _known_axes(node: Node, shape: Shape, known: Arrays, opset: int) -> list[_Axis]:
    scales_at, sizes_at = _positions(node, opset)
    scales, sizes = at(known, scales_at), at(known, sizes_at)
    if "scales" in node.attributes:
        return _axes(node, shape, node.attributes["scales"], None)  # type: ignore[arg-type]
    wanted = [name for name in node.inputs[1:] if name]
    if not wanted or ((scales is None or not scales.size) and sizes is None):
        raise untold(node, "depends on values that are")
    if sizes is not None and sizes.size:
        return _axes(node, shape, None, [int(size) for size in sizes.tolist()])
    assert scales is not None
    return _axes(node, shape, [float(scale) for scale in scales.tolist()], None)


def _resize_shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    shape = given(node, shapes, 0)
    sizes = list(shape)
    for axis in _known_axes(node, shape, known, opset):
        sizes[axis.axis] = axis.new
    return (tuple(sizes),)


def _transformation(node: Node, opset: int) -> tuple[str, str]:
    """How a place is found in the input, and which neighbor is nearest."""
    if node.operator == "Upsample" or opset < 11:
        return "asymmetric", "floor"
    return (
        text(node, "coordinate_transformation_mode", "half_pixel"),
        text(node, "nearest_mode", "round_prefer_floor"),
    )


def _coordinates(node: Node, axis: _Axis, transformation: str) -> Reals:  # -> (new,)
    """Where each place of the output lies in the input."""
    places = np.arange(axis.new, dtype=np.float64)
    halves = (places + 0.5) / axis.scale - 0.5
    match transformation:
        case "half_pixel" | "tf_half_pixel_for_nn":
            return halves
        case "half_pixel_symmetric":
            shown = axis.new / (axis.scale * axis.old)
            offset: Reals = axis.old / 2 * (1 - shown) + halves
            return offset
        case "pytorch_half_pixel":
            return halves if axis.new > 1 else np.zeros(1)
        case "align_corners":
            return places * (axis.old - 1) / (axis.new - 1) if axis.new > 1 else np.zeros(1)
        case "asymmetric":
            return places / axis.scale
        case _:
            raise refused(node, f"finds places by {transformation}, which is not understood")


def _nearest(node: Node, coordinates: Reals, nearest: str) -> Reals:
    match nearest:
        case "round_prefer_floor":
            return np.ceil(coordinates - 0.5)
        case "round_prefer_ceil":
            return np.floor(coordinates + 0.5)
        case "floor":
            return np.floor(coordinates)
        case "ceil":
            return np.ceil(coordinates)
        case _:
            raise refused(node, f"has the nearest mode {nearest}")


def _taps(node: Node, axis: _Axis, mode: str, opset: int) -> list[tuple[NDArray[np.int64], Reals]]:
    """Which input places each output place sums, and by which weights: (new,) each."""
    transformation, nearest = _transformation(node, opset)
    coordinates = _coordinates(node, axis, transformation)
    if mode == "nearest":
        offsets = [0]
        base = _nearest(node, coordinates, nearest)
        weights = [np.ones(axis.new)]
    elif mode == "linear":
        base = np.floor(coordinates)
        ratio = coordinates - base
        offsets, weights = [0, 1], [1 - ratio, ratio]
    elif mode == "cubic":
        base = np.floor(coordinates)
        ratio = coordinates - base
        offsets = [-1, 0, 1, 2]
        a = number(node, "cubic_coeff_a", _CUBIC)
        weights = [_cubic(np.abs(ratio - offset), a) for offset in offsets]
    else:
        raise refused(node, f"has the mode {mode}, which is not understood")
    places = [base.astype(np.int64) + offset for offset in offsets]
    if mode != "nearest" and integer(node, "exclude_outside", 0):
        inside = [(place >= 0) & (place < axis.old) for place in places]
        weights = [np.where(i, weight, 0) for i, weight in zip(inside, weights, strict=True)]
        total = np.sum(weights, axis=0)
        weights = [weight / total for weight in weights]
    return [
        (np.clip(place, 0, axis.old - 1), weight)
        for place, weight in zip(places, weights, strict=True)
    ]


def _cubic(distance: Reals, a: float) -> Reals:
    """Keys, "Cubic convolution interpolation for digital image processing", 1981."""
    near: Reals = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far: Reals = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, far)


def _resize(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    x = given(node, inputs, 0)
    known = [
        # numpy has no bfloat16, in which a network may hold its scales.
        tensor.cpu().double().numpy() if i and tensor is not None else None
        for i, tensor in enumerate(inputs)
    ]
    if integer(node, "antialias", 0):
        raise refused(node, "resizes without aliasing, which is not understood")
    mode = text(node, "mode", "nearest")
    axes = _known_axes(node, tuple(x.shape), known, opset)
    by_torch = _torch_call(node, x, axes, mode, opset)
    if by_torch is not None:
        return (by_torch,)
    for axis in axes:
        taps = _taps(node, axis, mode, opset)
        parts = [
            x.index_select(axis.axis, torch.from_numpy(places).to(x.device)) for places, _ in taps
        ]
        if mode == "nearest":
            x = parts[0]
            continue
        shape = [1] * x.dim()
        shape[axis.axis] = -1
        weights = [torch.tensor(w, dtype=x.dtype, device=x.device).reshape(shape) for _, w in taps]
        x = sum((p * w for p, w in zip(parts[1:], weights[1:], strict=True)), parts[0] * weights[0])
    return (x,)


def _torch_call(
    node: Node, x: Tensor, axes: Sequence[_Axis], mode: str, opset: int
) -> Tensor | None:
    """The same by torch's own faster function, where it means the same."""
    if not (x.dim() == 4 and x.is_floating_point() and {axis.axis for axis in axes} == {2, 3}):
        return None
    size = [axis.new for axis in sorted(axes, key=lambda axis: axis.axis)]
    transformation, nearest = _transformation(node, opset)
    if mode == "nearest":
        doubled = all(_repeats(axis, transformation, nearest) for axis in axes)
        return F.interpolate(x, size=size, mode="nearest") if doubled else None
    plain = all(axis.scale == axis.new / axis.old and axis.new > 1 for axis in axes)
    if (
        not plain
        or mode not in _TORCH_MODES
        or transformation not in ("half_pixel", "pytorch_half_pixel", "align_corners")
        or integer(node, "exclude_outside", 0)
        or number(node, "cubic_coeff_a", _CUBIC) != _CUBIC
    ):
        return None
    corners = transformation == "align_corners"
    return F.interpolate(x, size=size, mode=_TORCH_MODES[mode], align_corners=corners)


def _repeats(axis: _Axis, transformation: str, nearest: str) -> bool:
    """Whether each element is repeated, 2, 4, 8, ... times: other factors torch rounds."""
    factor = axis.new // axis.old
    if axis.new != factor * axis.old or factor & (factor - 1):
        return False
    if (transformation, nearest, axis.scale) == ("asymmetric", "floor", factor):
        return True
    return _repeated(axis, transformation, nearest)


@lru_cache(maxsize=256)
def _repeated(axis: _Axis, transformation: str, nearest: str) -> bool:
    node = Node(name="", operator="Resize", inputs=(), outputs=())
    found = _nearest(node, _coordinates(node, axis, transformation), nearest)
    places = np.clip(found, 0, axis.old - 1)
    return np.array_equal(places, np.arange(axis.new) // (axis.new // axis.old))


RESIZING: Mapping[str, Operator] = {
    name: Operator(family=Family.SPATIAL, compute=_resize, shape=_resize_shape)
    for name in ("Resize", "Upsample")
}
