"""How computations read their inputs."""

from torch import Tensor

from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Shape, Tensors, given


def told(node: Node, inputs: Tensors, position: int) -> Shape:
    """Whole numbers that an input holds."""
    return tuple(given(node, inputs, position).reshape(-1).tolist())


def together(tensors: Tensors) -> list[Tensor]:
    """Those that are there, on one device: an accelerator, if any of them is on one."""
    found = [tensor for tensor in tensors if tensor is not None]
    devices = {tensor.device for tensor in found}
    if len(devices) > 1:
        device = next(device for device in devices if device.type != "cpu")
        found = [tensor.to(device) for tensor in found]
    return found
