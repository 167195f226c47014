"""The walk over shapes: (channels, height, width) of every layer's output.

A network whose layers do not fit together is refused here, with the layer named; so every spec that
exists is one that can run.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.options import MAX_CHANNELS
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AvgPool,
    Conv,
    Head,
    Layer,
    MaxPool,
    NetworkSpec,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""

# What is beyond these is taken for a damaged cfg, not for a network, and refused before anything of
# its size is made. YOLOv3 at 4096 pixels has maps of MAX_MAP values.
MAX_MAP = 1 << 29
MAX_MAPS = 1 << 35
MAX_WEIGHTS = 1 << 32
MAX_ENDS = 1 << 23  # channels that layers read or give, each layer's counted anew


def source_shapes(layer: Layer, spec: NetworkSpec, shapes: Sequence[Shape]) -> list[Shape]:
    """Shapes of a layer's sources, the input image included."""
    return [spec.input_shape if s == INPUT else shapes[s] for s in layer.sources]


def layer_shapes(spec: NetworkSpec, name: str = "cfg") -> tuple[Shape, ...]:
    """Output shape of every layer; raises `CfgError` where two layers do not fit together.

    So it does where a map or the network as a whole is larger than any machine could hold.
    """
    if math.prod(spec.input_shape) > MAX_MAP:
        line = next((o.line for o in spec.net_options if o.key == "width"), 0)
        raise CfgError(f"{name}:{line}: the input of {_text(spec.input_shape)} is too large")
    shapes: list[Shape] = []
    weights = values = ends = 0
    for layer in spec.layers:
        try:
            inputs = source_shapes(layer, spec, shapes)
            shape = _output_shape(layer, inputs)
            weights += _kernel_size(layer, inputs)
            values += math.prod(shape)
            ends += sum(channels for channels, _, _ in (*inputs, shape))
            _check_size(shape, weights, values, ends)
        except ValueError as problem:
            where = f"{name}:{layer.section.line}: {layer.title}"
            raise CfgError(f"{where}: {problem}") from None
        shapes.append(shape)
    return tuple(shapes)


def _check_size(shape: Shape, weights: int, values: int, ends: int) -> None:
    if min(shape) < 1:
        raise ValueError("its output is empty")
    if math.prod(shape) > MAX_MAP or shape[0] > MAX_CHANNELS:
        raise ValueError(f"its output of {_text(shape)} is too large")
    if weights > MAX_WEIGHTS:
        raise ValueError(f"with it the network is too large: {weights:,} weights")
    if values > MAX_MAPS:
        raise ValueError(f"with it the network is too large: its maps have {values:,} values")
    if ends > MAX_ENDS:
        raise ValueError(f"with it the network is too large: it has {ends:,} channels")


def _kernel_size(layer: Layer, inputs: list[Shape]) -> int:
    if not isinstance(layer, Conv):
        return 0
    return layer.filters * (inputs[0][0] // layer.groups) * layer.size**2


def _output_shape(layer: Layer, inputs: list[Shape]) -> Shape:
    channels, height, width = inputs[0]
    match layer:
        case Conv():
            if channels % layer.groups:
                raise ValueError(
                    f"{channels} input channels do not divide into {layer.groups} groups"
                )
            reach = layer.dilation * (layer.size - 1) + 1
            return (
                layer.filters,
                (height + 2 * layer.padding - reach) // layer.stride_y + 1,
                (width + 2 * layer.padding - reach) // layer.stride_x + 1,
            )
        case Shortcut() | Sam():
            for other in inputs[1:]:
                if other[1:] != (height, width) or (isinstance(layer, Sam) and other != inputs[0]):
                    raise ValueError(f"shapes {_text(inputs[0])} and {_text(other)} do not match")
            return inputs[0]
        case ScaleChannels():
            if (height, width) != (1, 1) or inputs[1][0] != channels:
                raise ValueError(f"cannot scale {_text(inputs[1])} by {_text(inputs[0])}")
            return inputs[1]
        case Route():
            for other in inputs:
                if other[1:] != (height, width):
                    raise ValueError(f"cannot join {_text(inputs[0])} and {_text(other)}")
                if other[0] % layer.groups:
                    raise ValueError(
                        f"{other[0]} channels do not divide into {layer.groups} groups"
                    )
            return (sum(c for c, _, _ in inputs) // layer.groups, height, width)
        case Upsample():
            return (channels, height * layer.stride, width * layer.stride)
        case MaxPool():
            if channels * (height + layer.padding) * (width + layer.padding) > MAX_MAP:
                raise ValueError(f"its input with padding={layer.padding} is too large")
            return (
                channels,
                (height + layer.padding - layer.size) // layer.stride_y + 1,
                (width + layer.padding - layer.size) // layer.stride_x + 1,
            )
        case AvgPool():
            return (channels, 1, 1)
        case Reorg():
            block = layer.stride**2
            if height % layer.stride or width % layer.stride:
                raise ValueError(f"{width}x{height} is not a multiple of stride {layer.stride}")
            if layer.mixes_channels and channels % block:
                raise ValueError(f"{channels} channels are not a multiple of {block}")
            return (channels * block, height // layer.stride, width // layer.stride)
        case Head():
            if channels != layer.channels:
                raise ValueError(
                    f"{len(layer.anchors)} anchors and {layer.classes} classes need "
                    f"{layer.channels} channels, but the layer before gives {channels}"
                )
            return inputs[0]
        case _:
            return inputs[0]


def _text(shape: Shape) -> str:
    return f"{shape[2]}x{shape[1]}x{shape[0]}"
