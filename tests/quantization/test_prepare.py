import numpy as np
import onnx
import pytest
from onnx import helper

from tests.frontends.onnx.models import model
from tests.quantization.networks import depthwise_network, images, outputs
from yoloprune.errors import GraphError
from yoloprune.quantization.prepare import prepared


@pytest.mark.parametrize("opset", [11, 17])
def test_batch_norms_are_folded_and_nothing_else_changes(opset: int) -> None:
    network = depthwise_network(opset)
    made = prepared(network)
    onnx.checker.check_model(made, full_check=True)
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}
    assert made.opset_import[0].version >= 13
    names = [node.name for node in made.graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert list(made.metadata_props) == list(network.metadata_props)
    (image,) = images(1)
    assert np.allclose(outputs(made, image), outputs(network, image), atol=1e-5)


def test_what_onnx_runtime_cannot_read_is_refused() -> None:
    odd = model([helper.make_node("Guess", ["x"], ["y"], domain="elsewhere")], {})
    odd.opset_import.add(domain="elsewhere", version=1)
    with pytest.raises(GraphError, match="cannot be made int8"):
        prepared(odd)
