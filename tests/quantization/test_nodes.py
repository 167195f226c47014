import copy

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.quantization.networks import depthwise_network, images
from yoloprune.quantization.nodes import (
    beginning,
    contractions,
    decoding,
    ending,
    heads,
    undecoded,
    with_activation,
)
from yoloprune.quantization.prepare import prepared


def test_where_nodes_stand() -> None:
    network = depthwise_network()
    norm = network.graph.node[1]
    norm.name = "norm"
    assert contractions(network) == ["c1", "c2", "c3"]
    assert decoding(network) == {"decode"}
    assert heads(network) == {"c3"}
    assert beginning(network, 0) == set()
    assert beginning(network, 2) == {"c1", "norm", "leaky1", "c2", "leaky2"}
    assert ending(network, 1) == {"c3", "decode"}
    assert ending(network, 2) == {"c2", "leaky2", "c3", "decode"}
    assert with_activation(network, "c2") == {"c2", "leaky2"}
    assert with_activation(network, "c1") == {"c1"}  # The norm alone reads it.


def test_nothing_is_left_of_what_decoding_read(capfd: pytest.CaptureFixture[str]) -> None:
    network = prepared(depthwise_network())
    network.graph.initializer.append(numpy_helper.from_array(np.float32([2]), "factor"))
    network.graph.node[-1].output[0] = "s"
    network.graph.node.append(helper.make_node("Mul", ["s", "factor"], ["y"], name="scale"))
    cut = undecoded(network)
    assert "factor" not in {array.name for array in cut.graph.initializer}
    assert len(cut.graph.initializer) == len(network.graph.initializer) - 1
    # It warns of arrays that nothing reads, on a line each.
    onnxruntime.InferenceSession(cut.SerializeToString())
    assert capfd.readouterr() == ("", "")


def test_what_is_calibrated_ends_at_the_heads() -> None:
    network = prepared(depthwise_network())
    decoder = network.graph.node[-1]
    assert decoder.name == "decode"
    cut = undecoded(network)
    onnx.checker.check_model(cut, full_check=True)
    assert [node.name for node in cut.graph.node] == [n.name for n in network.graph.node[:-1]]
    assert [output.name for output in cut.graph.output] == [decoder.input[0]]
    seen = images(1)[0]
    (found,) = onnxruntime.InferenceSession(cut.SerializeToString()).run(None, {"x": seen})
    both = copy.deepcopy(network)
    both.graph.output.append(onnx.ValueInfoProto(name=decoder.input[0]))
    expected = onnxruntime.InferenceSession(both.SerializeToString()).run(None, {"x": seen})[1]
    np.testing.assert_array_equal(found, expected)
