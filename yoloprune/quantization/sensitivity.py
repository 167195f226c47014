"""How far the outputs of a network go when a part of it is int8."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from yoloprune.quantization.nodes import with_activation
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import Image

if TYPE_CHECKING:
    import onnx

LEAST = 1e-6
"""Deviation of outputs under which errors are no longer relative to it."""


class Outputs:
    """The outputs of a network on images, to which those of its int8 forms are compared."""

    def __init__(self, model: "onnx.ModelProto", images: Sequence[Image]) -> None:
        self.images = images
        self.wanted = self._of(model)

    def error(self, model: "onnx.ModelProto") -> float:
        """How far another model is: the mean over the outputs of relative root mean squares.

        1 is as far as a constant would be.
        """
        found = self._of(model)
        errors = []
        for number, wanted in enumerate(zip(*self.wanted, strict=True)):
            values = np.concatenate([value.ravel() for value in wanted]).astype(np.float64)
            others = np.concatenate([each[number].ravel() for each in found]).astype(np.float64)
            errors.append(
                np.sqrt(np.square(others - values).mean()) / max(float(values.std()), LEAST)
            )
        return float(np.mean(errors))

    def _of(self, model: "onnx.ModelProto") -> list[list[Any]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        return [session.run(None, {given.name: image}) for image in self.images]


def sensitivities(
    model: "onnx.ModelProto", ranges: Any, names: Sequence[str], outputs: Outputs
) -> Mapping[str, float]:
    """The error of the outputs where one contraction alone, with its activation, is int8."""
    every = {node.name for node in model.graph.node}
    return {
        name: outputs.error(quantized(model, ranges, every - with_activation(model, name)))
        for name in names
    }
