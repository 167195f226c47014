"""A network run layer by layer over a set of images: every layer over all of them before the next.

So a layer's parameters can still be changed when everything that it reads is known, and nothing is
computed twice. Outputs are kept for as long as a later layer reads them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from yoloprune.darknet.shapes import layer_shapes
from yoloprune.darknet.spec import INPUT, Conv, Head, Layer, NetworkSpec
from yoloprune.model.network import Network, last_reads


class Stream:
    """The outputs of a network's layers, in chunks of images (B, C, H, W).

    For each layer in order, either `run`, or `convolve` and then `finish`, is to be called once for
    each chunk.
    """

    def __init__(self, network: Network, chunks: Sequence[Tensor]) -> None:
        self.network = network
        self.chunks = len(chunks)
        self.images = sum(len(chunk) for chunk in chunks)
        self._outputs: list[dict[int, Tensor]] = [{INPUT: chunk} for chunk in chunks]
        self._free_after = last_reads(network.spec)

    def inputs(self, layer: Layer, chunk: int) -> list[Tensor]:
        """What a layer reads."""
        return [self._outputs[chunk][source] for source in layer.sources]

    def run(self, layer: Layer, chunk: int) -> None:
        """Compute a layer's output."""
        with torch.no_grad():
            self._put(layer, chunk, self.network.run_layer(layer, self.inputs(layer, chunk)))

    def convolve(self, conv: Conv, chunk: int) -> Tensor:
        """A convolution's output before batch norm and activation."""
        with torch.no_grad():
            convolved: Tensor = self.network.conv(conv.index).conv(*self.inputs(conv, chunk))
        return convolved

    def finish(self, conv: Conv, chunk: int, convolved: Tensor) -> None:
        """Take what `convolve` gave through batch norm and activation."""
        with torch.no_grad():
            self._put(conv, chunk, self.network.conv(conv.index).finish(convolved))

    def _put(self, layer: Layer, chunk: int, output: Tensor) -> None:
        outputs = self._outputs[chunk]
        if not isinstance(layer, Head):
            outputs[layer.index] = output
        for index in self._free_after.get(layer.index, ()):
            del outputs[index]


def largest_outputs(spec: NetworkSpec) -> list[int]:
    """Values that a stream holds for each image while each layer runs, its output included."""
    sizes = [math.prod(shape) for shape in layer_shapes(spec)]
    free_after = last_reads(spec)
    held, live = [], math.prod(spec.input_shape)
    for layer in spec.layers:
        live += 0 if isinstance(layer, Head) else sizes[layer.index]
        held.append(live)
        for index in free_after.get(layer.index, ()):
            live -= math.prod(spec.input_shape) if index == INPUT else sizes[index]
    return held
