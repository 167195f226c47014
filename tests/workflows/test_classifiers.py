"""Neurons of fully connected layers, and the counts that everyone knows."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from tests.classifiers import CLASSIFIERS, Classifier, alexnet, exported, randomized, squeezenet
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import kept_filters
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune

MAP = 36
"""Places of AlexNet's last map, 6 x 6: so many columns of the next layer read a channel."""


@pytest.mark.parametrize("made", CLASSIFIERS.values(), ids=list(CLASSIFIERS))
def test_definitions_have_the_numbers_of_parameters_that_are_known(made: Classifier) -> None:
    with torch.device("meta"):
        network = made.make()
    assert sum(array.numel() for array in network.parameters()) == made.parameters


def test_squeezenet_costs_what_is_known(tmp_path: Path) -> None:
    network = load(exported(squeezenet(), tmp_path / "squeezenet.onnx"))
    assert network.cost.params == CLASSIFIERS["squeezenet-1.0"].parameters
    assert round(network.cost.macs / 1e9, 2) == 0.82


def run(proto: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (name,) = (value.name for value in session.get_inputs())
    return session.run(None, {name: images})[0]


def test_the_neurons_with_the_smallest_weight_columns_go(tmp_path: Path) -> None:
    """By numpy: which are kept; by ONNX Runtime: the file without them computes the same."""
    path = exported(randomized(alexnet(classes=10, width=0.125)), tmp_path / "alexnet.onnx")
    cut = prune(path, {"params": 0.4}, criterion="l2", multiple_of=1)
    assert cut.slim.cost.params <= 0.4 * cut.dense.cost.params
    kept = list(kept_filters(analyze(cut.dense.graph), cut.plan).values())
    proto = onnx.load(path)
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    kernels = [numpy_helper.to_array(tensors[node.input[1]]).copy() for node in layers]
    assert [node.op_type for node in layers] == ["Conv"] * 5 + ["Gemm"] * 3
    for kernel, filters in zip(kernels[:-1], kept, strict=False):
        lengths = np.linalg.norm(kernel.reshape(len(kernel), -1), axis=1)
        assert set(filters) == set(np.argsort(lengths)[len(lengths) - len(filters) :])
    assert all(
        len(filters) < len(kernel) for kernel, filters in zip(kernels[5:7], kept[5:7], strict=True)
    )
    for number, (filters, kernel) in enumerate(zip(kept[:-1], kernels[1:], strict=True)):
        gone = np.setdiff1d(np.arange(len(kernels[number])), filters)
        if number == 4:
            kernel.reshape(len(kernel), -1, MAP)[:, gone] = 0
        else:
            kernel[:, gone] = 0
    for node, kernel in zip(layers, kernels, strict=True):
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(kernel, node.input[1]))
    cut.slim.save(tmp_path / "slim.onnx")
    images = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)
    expected, found = run(proto, images), run(onnx.load(tmp_path / "slim.onnx"), images)
    assert np.abs(found - expected).max() <= 5e-5 * np.abs(expected).max()
