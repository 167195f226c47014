"""Surgery: the slim network, as a pure function of network and plan."""

import numpy as np
import torch
from torch import Tensor

from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.pruning.channels import is_depthwise
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import PruningPlan, check_plan
from yoloprune.pruning.slimming import slim_spec


def surgery(
    spec: NetworkSpec, state: State, plan: PruningPlan
) -> tuple[NetworkSpec, dict[int, ConvParameters]]:
    """Remove the channels that the plan does not keep.

    Inputs are not changed; tensors that lose nothing are shared with the result. Raises `PlanError`
    when the plan was made for another network.
    """
    graph = analyse(spec)
    check_plan(graph, plan)
    kept = graph.kept(plan.keep)
    slim = {}
    for conv in spec.convs:
        outputs = kept[graph.channels.outputs[conv.index]]
        inputs = kept[graph.channels.inputs[conv.index]]
        slim[conv.index] = _slim_parameters(conv, state[conv.index], outputs, inputs)
    return slim_spec(graph, kept), slim


def _slim_parameters(
    conv: Conv, parameters: ConvParameters, outputs: np.ndarray, inputs: np.ndarray
) -> ConvParameters:
    """Rows and columns of one convolution; the masks are over its output and input channels."""
    rows = _indices(outputs)
    tensors = {name: _select(t, 0, rows) for name, t in parameters.items() if name != "kernel"}
    if is_depthwise(conv, len(inputs)):
        kernel = _select(parameters.kernel, 0, rows)
    else:
        # Each convolution group has its own rows and reads its own run of input channels.
        kernels = parameters.kernel.chunk(conv.groups)
        row_masks, column_masks = np.split(outputs, conv.groups), np.split(inputs, conv.groups)
        slim = [
            _select(_select(kernel, 0, _indices(row_mask)), 1, _indices(column_mask))
            for kernel, row_mask, column_mask in zip(kernels, row_masks, column_masks, strict=True)
        ]
        kernel = slim[0] if conv.groups == 1 else torch.cat(slim)
    return ConvParameters(kernel=kernel, **tensors)


def _indices(mask: np.ndarray) -> Tensor | None:
    """Positions of a mask's True entries, or None when that is all of them."""
    return None if mask.all() else torch.from_numpy(np.flatnonzero(mask))


def _select(tensor: Tensor, dim: int, indices: Tensor | None) -> Tensor:
    return tensor if indices is None else tensor.index_select(dim, indices.to(tensor.device))
