import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tests.quantization.networks import images
from yoloprune.quantization.leaky import leaky_as_sums
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import ranges


def network(slope: float) -> onnx.ModelProto:
    """A convolution, a leaky ReLU, a convolution."""
    random = np.random.default_rng(0)
    arrays = [
        onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in (("k1", (6, 3, 3, 3)), ("k2", (4, 6, 1, 1)))
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "k1"], ["c"], name="first"),
            helper.make_node("LeakyRelu", ["c"], ["r"], name="leaky", alpha=slope),
            helper.make_node("Conv", ["r", "k2"], ["y"], name="second"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        arrays,
    )
    opset = helper.make_opsetid("", 17)
    return prepared(helper.make_model(graph, opset_imports=[opset], ir_version=8))


def test_it_computes_the_same_bytes() -> None:
    model, seen = network(0.1), images()
    form = quantized(model, ranges(model, seen, "minmax"), ())
    sums = leaky_as_sums(form)
    onnx.checker.check_model(sums)
    assert "LeakyRelu" not in {node.op_type for node in sums.graph.node}
    for image in seen:
        found, wanted = (
            onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": image})[0]
            for each in (sums, form)
        )
        assert np.array_equal(found, wanted)


def test_what_is_not_int8_or_no_such_slope_stays() -> None:
    model, seen = network(0.1), images()
    form = quantized(model, ranges(model, seen, "minmax"), {"leaky", "second"})
    assert leaky_as_sums(form) == form
    steep = network(1.5)
    form = quantized(steep, ranges(steep, seen, "minmax"), ())
    assert leaky_as_sums(form) == form
