"""The static cost of a network: parameters, multiply-accumulates, bytes.

MACs are those of the convolutions, as darknet counts them (its BFLOPs are 2 x MACs / 1e9).
"""

import math
from dataclasses import dataclass

from yoloprune.frontends.darknet.shapes import Shape, layer_shapes, source_shapes
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES, Conv, NetworkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """Cost of one layer; `params` are trainable, `floats` are what a .weights file stores."""

    index: int
    in_channels: int
    out_shape: Shape
    params: int
    floats: int
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a network for one image.

    `params`: trainable (kernels, biases or batch-norm beta and gamma); `macs`: multiply-accumulates
    of the convolutions; `channels`: output channels of all convolutions; `weight_bytes`: size of
    the .weights file, its 20-byte header and the running statistics included.
    """

    params: int
    macs: int
    channels: int
    weight_bytes: int
    per_layer: tuple[LayerCost, ...]

    @property
    def flops(self) -> int:
        """Floating-point operations, two per multiply-accumulate (darknet's BFLOPs x 1e9)."""
        return 2 * self.macs


def cost(spec: NetworkSpec) -> Cost:
    """Count a network's cost from its spec alone."""
    shapes = layer_shapes(spec)
    layers: list[LayerCost] = []
    for layer, shape in zip(spec.layers, shapes, strict=True):
        in_channels = source_shapes(layer, spec, shapes)[0][0]
        params = floats = macs = 0
        if isinstance(layer, Conv):
            kernel = layer.filters * (in_channels // layer.groups) * layer.size**2
            params = kernel + layer.filters * (2 if layer.batch_normalize else 1)
            floats = kernel + layer.filters * (4 if layer.batch_normalize else 1)
            macs = kernel * math.prod(shape[1:])
        layers.append(
            LayerCost(
                index=layer.index,
                in_channels=in_channels,
                out_shape=shape,
                params=params,
                floats=floats,
                macs=macs,
            )
        )
    return Cost(
        params=sum(layer.params for layer in layers),
        macs=sum(layer.macs for layer in layers),
        channels=sum(conv.filters for conv in spec.convs),
        weight_bytes=WEIGHTS_HEADER_BYTES + 4 * sum(layer.floats for layer in layers),
        per_layer=tuple(layers),
    )
