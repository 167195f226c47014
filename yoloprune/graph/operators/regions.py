"""Regions of maps, sampled in equally many places."""

import math
from collections.abc import Mapping

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
    given,
    integer,
    number,
    refused,
    text,
)

MOST_SAMPLES = 1 << 12
"""Along an axis of a region."""


def _shape(node: Node, shapes: Shapes, known: Arrays, opset: int) -> tuple[Shape, ...]:
    sizes = integer(node, "output_height", 1), integer(node, "output_width", 1)
    return ((given(node, shapes, 1)[0], given(node, shapes, 0)[1], *sizes),)


def _roi_align(node: Node, inputs: Tensors, opset: int) -> tuple[Tensor, ...]:
    """He et al., "Mask R-CNN", 2017: means, or maxima, of samples between places of the map."""
    x, regions, images = (given(node, inputs, position) for position in range(3))
    height, width = integer(node, "output_height", 1), integer(node, "output_width", 1)
    half = "half_pixel" if opset >= 16 else "output_half_pixel"
    centered = text(node, "coordinate_transformation_mode", half) == "half_pixel"
    scale, ratio = number(node, "spatial_scale", 1.0), integer(node, "sampling_ratio", 0)
    shift, smallest = (0.5, -math.inf) if centered else (0.0, 1.0)
    found = [x.new_zeros((0, x.shape[1], height, width))]
    for image, corners in zip(images.tolist(), regions.tolist(), strict=True):
        left, top, right, bottom = (corner * scale - shift for corner in corners)
        sides = []
        for low, high, count, axis in ((top, bottom, height, 2), (left, right, width, 3)):
            side = max(high - low, smallest)
            each = ratio or max(math.ceil(side / count), 0)
            if each * count > MOST_SAMPLES:
                raise refused(node, f"samples a region of {side} by {each * count}")
            places = (torch.arange(each * count) + 0.5) * (side / max(1, each * count)) + low
            sides.append(_corners(places, x.shape[axis], x))
        found.append(_sampled(node, x[image], sides[0], sides[1], (height, width))[None])
    return (torch.cat(found),)


def _corners(places: Tensor, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Shares that samples have in the place below and in the one above: (samples, size) each."""
    inside = (places >= -1) & (places <= size)
    places = places.clamp(0, size - 1).to(like)
    below = places.floor().clamp(max=max(0, size - 2))
    share = places - below
    numbers = torch.arange(size, device=like.device)
    shares = []
    for own, weight in ((below, 1 - share), (below + 1, share)):
        own = own.long()[:, None] == numbers
        shares.append(own * (weight * inside.to(like))[:, None])
    return shares[0], shares[1]


def _sampled(
    node: Node,
    image: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    sizes: tuple[int, int],
) -> Tensor:  # (C, H, W) -> (C, *sizes)
    corners = [row @ image @ column.T for row in rows for column in columns]
    samples = [size // count for size, count in zip(corners[0].shape[1:], sizes, strict=True)]
    if 0 in samples:
        return image.new_zeros((len(image), *sizes))
    if text(node, "mode", "avg") == "max":
        value = torch.stack(corners).amax(0)
    else:
        value = corners[0] + corners[1] + corners[2] + corners[3]
    apart = value.reshape(len(image), sizes[0], samples[0], sizes[1], samples[1])
    return apart.amax((2, 4)) if text(node, "mode", "avg") == "max" else apart.mean((2, 4))


REGIONS: Mapping[str, Operator] = {
    "RoiAlign": Operator(family=Family.SPATIAL, compute=_roi_align, shape=_shape),
}
