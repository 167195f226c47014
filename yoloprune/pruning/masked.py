"""The masked network: the dense one, in which nobody hears the removed channels.

Kernel columns that read removed channels are 0, and where a value is summed over its channels, or
a kernel is computed, removed ones are multiplied by 0; nothing else differs. It has the dense
network's shape and needs no surgery, so any program can run it.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from yoloprune.graph.edits import Reading
from yoloprune.graph.graph import Graph, Node
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.labels import Contraction
from yoloprune.pruning.plan import PruningPlan, check_plan


def masked(
    dependencies: DependencyGraph, parameters: Mapping[str, Tensor], plan: PruningPlan
) -> tuple[Graph, dict[str, Tensor]]:
    """The masked network of a plan: a graph and its parameters, in new tensors where they differ.

    Raises `PlanError` when the plan was made for another network.
    """
    check_plan(dependencies, plan)
    return silenced(dependencies, parameters, dependencies.kept(plan.keep))


def silenced(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    kept: np.ndarray,
    muted: Collection[Reading] = (),
) -> tuple[Graph, dict[str, Tensor]]:
    """The network in which the channel ids that a mask leaves out are not heard.

    Nor are values where nodes read them as `muted`: they are multiplied by 0.
    """
    graph, labels = dependencies.graph, dependencies.labels
    tensors, shapes = dict(parameters), dict(graph.parameters)
    constants = dict(graph.constants)
    reads: dict[Reading, str] = {}
    masks = {(found.node, found.input): kept[found.ids] for found in labels.sums}
    masks |= {reading: np.zeros((), np.bool_) for reading in muted}
    times = Counter(name for node in graph.nodes for name in node.inputs)
    for found in labels.contractions:
        if found.depthwise or kept[found.columns].all():
            continue
        if found.name not in tensors and found.name not in constants:
            shape = [-1 if axis == found.column_axis else 1 for axis in range(2)]
            shape += [1] * (len(labels.facts.shapes[found.name]) - 2)
            masks[found.node, found.input] = kept[found.columns].reshape(shape)
            continue
        # What others read too stays as it is.
        name = found.name if times[found.name] == 1 else f"{found.node}.masked"
        reads[found.node, found.input] = name
        if found.name in tensors:
            shapes[name] = graph.parameters[found.name]
            tensors[name] = _kernel(found, parameters[found.name], kept)
        else:
            array = torch.from_numpy(np.array(graph.constants[found.name]))
            constants[name] = _kernel(found, array, kept).numpy()
    nodes: list[Node] = []
    dtype = next(iter(graph.outputs.values())).dtype
    for node in graph.nodes:
        inputs = list(node.inputs)
        for position, own in enumerate(node.inputs):
            reading = (node.name, position)
            inputs[position] = reads.get(reading, own)
            if reading in masks and not masks[reading].all():
                product = f"{node.name}.masked_{position}"
                constants[f"{product}.mask"] = masks[reading].astype(dtype)
                names = (own, f"{product}.mask")
                nodes.append(Node(name=product, operator="Mul", inputs=names, outputs=(product,)))
                inputs[position] = product
        nodes.append(replace(node, inputs=tuple(inputs)))
    network = replace(graph, nodes=tuple(nodes), parameters=shapes, constants=constants)
    return network, tensors


def _kernel(found: Contraction, kernel: Tensor, kept: np.ndarray) -> Tensor:
    """A kernel whose columns for removed channels are 0."""
    kernel = kernel.clone()
    masks = np.split(~kept[found.columns], found.groups)
    for block, mask in zip(kernel.chunk(found.groups), masks, strict=True):
        block.transpose(0, found.column_axis)[torch.from_numpy(mask)] = 0
    return kernel
