"""Channels scaled against each other, so that one int8 scale suits them all.

Between two convolutions with at most a (leaky) ReLU, a channel may be divided by s in the first and
multiplied by s in the second: the network computes the same (M. Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", 2019). Thin channels of depthwise
networks would otherwise have a few of the 256 steps.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.quantization.ranges import Image

if TYPE_CHECKING:
    import onnx

Pair: TypeAlias = "tuple[onnx.NodeProto, onnx.NodeProto]"
"""Two convolutions, of which the second alone reads what the first gives."""

LARGEST = 1e3
"""By which a channel is scaled at most, either way."""


def equalized(model: "onnx.ModelProto", images: Sequence[Image]) -> "onnx.ModelProto":
    """The model with channels of like extent on images; `model` is one that `prepared` gave."""
    from onnx import numpy_helper

    made = copy.deepcopy(model)
    _unshare(made)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()}
    pairs = _pairs(made, arrays)
    if not pairs:
        return made
    extents = _extents(model, [first.output[0] for first, _ in pairs], images)
    for first, second in pairs:
        kernel = arrays[second.input[1]]
        factor = _factor(extents[first.output[0]], kernel)
        for name in first.input[1:]:
            rows = factor.reshape(-1, *(1,) * (arrays[name].ndim - 1))
            arrays[name] = (arrays[name] / rows).astype(kernel.dtype)
        axis = 0 if kernel.shape[1] == 1 else 1
        shape = [-1 if number == axis else 1 for number in range(kernel.ndim)]
        arrays[second.input[1]] = (kernel * factor.reshape(shape)).astype(kernel.dtype)
    for name in {name for pair in pairs for node in pair for name in node.input[1:]}:
        tensors[name].CopyFrom(numpy_helper.from_array(arrays[name], name))
    return made


def _factor(extent: NDArray[np.float64], kernel: NDArray[Any]) -> NDArray[np.float64]:
    """By what each channel is divided, given its extent and the kernel that reads it."""
    reads = np.ones_like(extent)
    if kernel.shape[1] != 1:
        # Of a depthwise kernel each channel has a scale of its own; here all share it.
        reads = np.abs(kernel).max(axis=(0, *range(2, kernel.ndim))).astype(np.float64)
    used = (extent > 0) & (reads > 0)
    factor = np.ones_like(extent)
    if used.any():
        power = 1.0 if kernel.shape[1] == 1 else 0.5
        wanted = np.log((extent[used] / reads[used]) ** power)
        factor[used] = np.exp(np.clip(wanted - wanted.mean(), -np.log(LARGEST), np.log(LARGEST)))
    return factor


def _unshare(model: "onnx.ModelProto") -> None:
    """Give each convolution numbers of its own: ONNX Runtime keeps equal ones once."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if node.op_type == "Conv" and name in tensors and uses[name] > 1:
                own = model.graph.initializer.add()
                own.CopyFrom(tensors[name])
                own.name = node.input[position] = f"{name}_of_{node.name}"


def _pairs(model: "onnx.ModelProto", arrays: Mapping[str, NDArray[Any]]) -> list[Pair]:
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(value.name for value in model.graph.output)
    reader = {name: node for node in model.graph.node for name in node.input}

    def after(node: "onnx.NodeProto") -> "onnx.NodeProto | None":
        """What alone reads a node."""
        return reader.get(node.output[0]) if uses[node.output[0]] == 1 else None

    def own(node: "onnx.NodeProto") -> bool:
        return all(name in arrays for name in node.input[1:])

    found = []
    for first in model.graph.node:
        if first.op_type != "Conv" or not own(first):
            continue
        second = after(first)
        if second is not None and second.op_type in ("Relu", "LeakyRelu"):
            second = after(second)
        if second is None or second.op_type != "Conv" or not own(second):
            continue
        channels, kernel = len(arrays[first.input[1]]), arrays[second.input[1]]
        depthwise = kernel.shape[:2] == (channels, 1)
        if depthwise or kernel.shape[1] == channels:
            found.append((first, second))
    return found


def _extents(
    model: "onnx.ModelProto", names: Sequence[str], images: Sequence[Image]
) -> dict[str, NDArray[np.float64]]:
    """The largest size of each channel of values (1, C, ...) on images."""
    import onnx
    import onnxruntime

    watched = copy.deepcopy(model)
    del watched.graph.output[:]
    watched.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    found: dict[str, NDArray[np.float64]] = {}
    for image in images:
        for name, value in zip(names, session.run(None, {given.name: image}), strict=True):
            extent = np.abs(value).max(axis=(0, *range(2, value.ndim))).astype(np.float64)
            found[name] = np.maximum(found.get(name, extent), extent)
    return found
