import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from tests.quantization.networks import depthwise_network, images, outputs
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import ranges


def test_weights_are_int8_for_each_channel_and_some_stay_in_float() -> None:
    network, seen = prepared(depthwise_network()), images()
    (head,) = (node.name for node in network.graph.node if node.output[0] == "a3")
    made = quantized(network, ranges(network, seen, "minmax"), {head, "decode"})
    onnx.checker.check_model(made)
    kernels = {array.name: array for array in made.graph.initializer if len(array.dims) == 4}
    kinds = sorted(array.data_type for array in kernels.values())
    assert kinds == [TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT8]
    scales = [array for array in made.graph.initializer if list(array.dims) == [6]]
    assert any(array.data_type == TensorProto.FLOAT for array in scales)
    assert {e.key for e in made.metadata_props} == {e.key for e in network.metadata_props}
    # The network that was given is as it was.
    assert "QuantizeLinear" not in {node.op_type for node in network.graph.node}


def test_onnx_runtime_computes_what_the_file_says() -> None:
    network, seen = prepared(depthwise_network()), images()
    made = quantized(network, ranges(network, seen, "minmax"), {"decode"})
    session = onnxruntime.InferenceSession(made.SerializeToString())
    for image in seen:
        (found,) = session.run(None, {"x": image})
        assert np.abs(found - outputs(made, image)).max() < 0.02
