"""ONNX models made ready for int8: batch norms folded, every node with a name of its own."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.errors import GraphError

if TYPE_CHECKING:
    import onnx

LEAST_OPSET = 13
"""From here on DequantizeLinear knows axes, which a scale for each channel needs."""


def prepared(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The same network as ONNX Runtime simplifies it for any machine, in an opset that knows int8.

    What the model says of itself stays. Raises `GraphError` where ONNX cannot convert it, or ONNX
    Runtime cannot read it.
    """
    import onnx
    import onnxruntime
    from onnx import version_converter

    opset = next((each.version for each in model.opset_import if not each.domain), LEAST_OPSET)
    options = onnxruntime.SessionOptions()
    # Further levels write nodes of one processor, which nothing could make int8.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    try:
        if opset < LEAST_OPSET:
            model = version_converter.convert_version(model, LEAST_OPSET)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "simple.onnx")
            options.optimized_model_filepath = str(path)
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            simple: onnx.ModelProto = onnx.load(path)
    except Exception as error:
        # onnxruntime and the converter have an exception of their own for each kind of fault.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise GraphError(f"it cannot be made int8: {reason}") from error
    taken: set[str] = set()
    for number, node in enumerate(simple.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}_for_int8"
        taken.add(node.name)
    onnx.helper.set_model_props(simple, {each.key: each.value for each in model.metadata_props})
    simple.doc_string = model.doc_string
    return simple
