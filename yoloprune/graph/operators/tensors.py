"""Arrays as tensors and back, and how computations read their inputs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import GraphError
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Shape, Tensors, given, integers


def tensor_of(array: NDArray[Any]) -> Tensor:
    """A copy of an array, in its dtype or, where torch has none such, in a wider one.

    Raises `GraphError` for what holds no numbers.
    """
    name = array.dtype.name
    if name == "bfloat16":
        # numpy knows it from a package of its own, of which torch knows nothing.
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16)
    if name.startswith("float") and array.dtype.kind != "f":
        return torch.tensor(array.astype(np.float32))
    if name in ("int2", "int4", "uint2", "uint4"):
        return torch.tensor(array.astype(np.int8))
    try:
        return torch.tensor(array)
    except TypeError as error:
        raise GraphError(f"an array of {name} holds no numbers to compute with") from error


def array_of(tensor: Tensor) -> NDArray[Any] | None:
    """A tensor as an array, or None where numpy has no such dtype."""
    return None if tensor.dtype == torch.bfloat16 else tensor.cpu().numpy()


def told(node: Node, inputs: Tensors, position: int, name: str = "") -> Shape:
    """Whole numbers that an input holds, or an attribute of this name in its place."""
    if name in node.attributes:
        return integers(node, name)
    return tuple(given(node, inputs, position).reshape(-1).tolist())


def together(tensors: Tensors) -> list[Tensor]:
    """Those that are there, on one device: an accelerator, if any of them is on one."""
    found = [tensor for tensor in tensors if tensor is not None]
    devices = {tensor.device for tensor in found}
    if len(devices) > 1:
        device = next(device for device in devices if device.type != "cpu")
        found = [tensor.to(device) for tensor in found]
    return found
