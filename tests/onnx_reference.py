"""A referee that is not ours: ONNX's own reference implementation, in float64."""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tests.networks import graph_in
from yoloprune.detection.decode import decode
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.edits import as_stored


class MaxPool(OpRun):
    """The reference takes `pads` in another order than ONNX where the stride is 1."""

    def _run(self, x, kernel_shape=None, pads=None, strides=None, **_):
        top, left, bottom, right = pads
        border = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded = np.pad(x, border, constant_values=-np.inf)
        windows = sliding_window_view(padded, tuple(kernel_shape), axis=(2, 3))
        return (windows.max(axis=(4, 5))[:, :, :: strides[0], :: strides[1]],)


def evaluator(spec: NetworkSpec, state: State, *, decoded: bool) -> ReferenceEvaluator:
    """The network's graph in float64."""
    graph = lower(spec, decoded=decoded, dtype="float64")
    arrays = {name: tensor.numpy() for name, tensor in parameters(state).items()}
    return ReferenceEvaluator(onnx_model(graph, arrays), new_ops=[MaxPool])


def outputs_of(
    spec: NetworkSpec, state: State, images: torch.Tensor, *, decoded: bool
) -> list[np.ndarray]:
    """What torch gives for a file's outputs, with the attributes that the file holds."""
    network = Network(as_stored(graph_in(state, spec)), parameters(state))
    with torch.inference_mode():
        maps = network(images)
        if decoded:
            found = decode(spec, maps)
            maps = (found.boxes, found.objectness[..., None] * found.classes)
    return [tensor.numpy() for tensor in maps]
