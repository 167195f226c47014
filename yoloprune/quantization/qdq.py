"""ONNX models with int8 weights and values, as ONNX Runtime's static quantization writes them."""

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from yoloprune.quantization.ranges import in_silence

if TYPE_CHECKING:
    import onnx

OPERATORS = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul"),
    *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Add", "Mul"),
    *("Concat", "Split", "Slice", "Gather", "Reshape", "Transpose", "Squeeze", "Unsqueeze"),
    *("Flatten", "MaxPool", "GlobalAveragePool", "Resize"),
)
"""What ONNX Runtime computes in int8 no slower than in float, or moves byte by byte. Not among them
are AveragePool and Softmax, whose int8 kernels are slower."""


def quantized(
    model: "onnx.ModelProto", ranges: Any, in_float: Collection[str]
) -> "onnx.ModelProto":
    """The model in int8 but for the nodes of these names; all others where `in_float` is empty.

    Weights are int8 about 0 with a scale for each channel, values uint8 over their `ranges`: what
    ONNX Runtime's kernels multiply fastest.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    with in_silence():
        quantizer = QDQQuantizer(
            model=copy.deepcopy(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(in_float),
            op_types_to_quantize=list(OPERATORS),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    # A note of the quantizer to itself.
    for number in reversed(range(len(made.metadata_props))):
        if made.metadata_props[number].key.startswith("onnx."):
            del made.metadata_props[number]
    return made
