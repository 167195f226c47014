"""The spec half of surgery: the slim network's layers, from the channels that stay."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from yoloprune.darknet.spec import AnyLayer, Conv, NetworkSpec, resized
from yoloprune.pruning.channels import is_depthwise
from yoloprune.pruning.groups import DependencyGraph


def slim_spec(graph: DependencyGraph, kept: NDArray[np.bool_]) -> NetworkSpec:
    """The network without the channel ids that `kept` (a mask over ids) leaves out."""

    def slim(layer: AnyLayer) -> AnyLayer:
        if not isinstance(layer, Conv):
            return layer
        inputs = graph.channels.inputs[layer.index]
        filters = int(np.count_nonzero(kept[graph.channels.outputs[layer.index]]))
        groups = layer.groups
        if is_depthwise(layer, len(inputs)):
            groups = int(np.count_nonzero(kept[inputs]))
        if (filters, groups) == (layer.filters, layer.groups):
            return layer
        return resized(layer, filters=filters, groups=groups)

    return replace(graph.spec, layers=tuple(slim(layer) for layer in graph.spec.layers))
