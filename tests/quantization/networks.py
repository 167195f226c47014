"""A small network as int8 meets it: depthwise between pointwise, leaky, and a decoded head."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tests.frontends.onnx.models import model, weights

node = helper.make_node


def depthwise_network(opset: int = 17) -> onnx.ModelProto:
    """Reads `x` (1, 3, 8, 8) and gives `y` (1, 4, 8, 8); channels of `c1` are of unlike extent."""
    extents = np.logspace(-2, 1, 6).astype(np.float32)
    arrays = {
        "k1": weights(6, 3, 1, 1) * extents[:, None, None, None],
        "b1": np.zeros(6, np.float32),
        "scale": np.full(6, 2, np.float32),
        "shift": np.zeros(6, np.float32),
        "mean": np.zeros(6, np.float32),
        "variance": np.ones(6, np.float32),
        "k2": weights(6, 1, 3, 3) / extents[:, None, None, None],
        "b2": np.zeros(6, np.float32),
        "k3": weights(4, 6, 1, 1),
        "b3": np.zeros(4, np.float32),
    }
    nodes = [
        node("Conv", ["x", "k1", "b1"], ["a1"], name="c1"),
        node("BatchNormalization", ["a1", "scale", "shift", "mean", "variance"], ["n1"]),
        node("LeakyRelu", ["n1"], ["l1"], name="leaky1", alpha=0.1),
        node("Conv", ["l1", "k2", "b2"], ["a2"], name="c2", group=6, pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["a2"], ["l2"], name="leaky2", alpha=0.1),
        node("Conv", ["l2", "k3", "b3"], ["a3"], name="c3"),
        node("Sigmoid", ["a3"], ["y"], name="decode"),
    ]
    return model(nodes, arrays, opset=opset)


def images(count: int = 4) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.random((1, 3, 8, 8), dtype=np.float32) - 0.5 for _ in range(count)]


def outputs(proto: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of an image, node by node as the file has them."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    (found,) = session.run(None, {"x": image})
    return np.asarray(found)
