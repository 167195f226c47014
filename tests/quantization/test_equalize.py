import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.frontends.onnx.models import model, weights
from tests.quantization.networks import depthwise_network, images, outputs
from yoloprune.quantization.equalize import equalized
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import ranges


def test_the_same_is_computed_and_int8_is_nearer() -> None:
    network, seen = prepared(depthwise_network()), images()
    made = equalized(network, seen)
    errors = []
    for each in (network, made):
        form = quantized(each, ranges(each, seen, "minmax"), {"decode"})
        errors.append(max(np.abs(outputs(form, i) - outputs(network, i)).max() for i in seen))
    for image in seen:
        assert np.allclose(outputs(made, image), outputs(network, image), atol=1e-5)
    assert errors[1] < errors[0] / 2
    kernels = [
        numpy_helper.to_array(a) for a in made.graph.initializer if list(a.dims) == [6, 3, 1, 1]
    ]
    extents = np.abs(kernels[0]).max(axis=(1, 2, 3))
    assert extents.max() / extents.min() < 10  # 1000 before.


def test_what_something_else_reads_is_left() -> None:
    arrays = {"k1": weights(4, 3, 1, 1), "k2": weights(4, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"], name="c1"),
        helper.make_node("Conv", ["a", "k2"], ["b"], name="c2"),
        helper.make_node("Add", ["a", "b"], ["y"], name="sum"),
    ]
    network = model(nodes, arrays)
    made = equalized(network, images())
    assert made == network
    onnx.checker.check_model(made)
