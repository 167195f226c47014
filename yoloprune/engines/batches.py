"""Any number of images for a network that may read a fixed number at once."""

import torch
from torch import Tensor

from yoloprune.engines.engine import Runner
from yoloprune.execution.stream import only_input
from yoloprune.graph.graph import Graph
from yoloprune.pruning.verification import at_once


def outputs_of(run: Runner, graph: Graph, images: Tensor) -> dict[str, Tensor]:
    """What a graph in an engine makes of images (B, ...) of any dtype: (B, ...) each, on the CPU.

    What is left over is filled up with the last image.
    """
    kind = graph.inputs[only_input(graph)].dtype
    several = at_once(graph) or len(images)
    missing = -len(images) % several
    filled = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
    parts = [run(part.to(getattr(torch, kind))) for part in torch.split(filled, several)]
    return {
        name: torch.cat([part[name] for part in parts]).float().cpu()[: len(images)]
        for name in run.outputs
    }
