"""Blocks without which the rest of a network computes what it did beside zeros."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.helper import make_tensor_value_info
from onnx.reference import ReferenceEvaluator

from tests.architectures import yolov4
from tests.frontends.onnx.models import loaded, residual
from tests.random_networks import random_state
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.document import model
from yoloprune.graph.edits import edit
from yoloprune.pruning.depth import blocks, check_readings, shortened
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prove import exactness, outputs
from yoloprune.pruning.verification import random_images


@pytest.mark.parametrize("given", [False, True])
def test_the_reference_evaluator_gives_the_rest_beside_zeros(given: bool, tmp_path: Path) -> None:
    proto = residual()
    if given:
        # The sum is an output, too: its name stays, and hands on the other term.
        proto.graph.output.append(make_tensor_value_info("sum", 1, (1, 16, 16, 16)))
    network = loaded(proto, tmp_path)
    (block,) = blocks(network.graph)
    assert block.reading == ("sum", 0)
    assert block.nodes == ("second", "norm2") and block.macs == 16 * 16 * 9 * 16 * 16
    short = network.edited(shortened(network.graph, [block.reading]))
    assert [node.name for node in short.graph.nodes] == [
        *("first", "norm1", "relu1", *(["sum"] if given else [])),
        *("relu2", "third", "relu3", "head", "logistic"),
    ]
    (path,) = short.save(tmp_path / "short.onnx")
    onnx.checker.check_model(path, full_check=True)
    found = ReferenceEvaluator(onnx.load(path))
    # The dense file, in which the block is multiplied by 0.
    muted = proto
    (place,) = [n for n, node in enumerate(muted.graph.node) if node.name == "sum"]
    muted.graph.node[place].input[0] = "nothing"
    muted.graph.node.insert(place, onnx.helper.make_node("Mul", ["bn", "zero"], ["nothing"]))
    muted.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    (image,) = random_images(network.graph).values()
    (name,) = network.graph.inputs
    feed = {name: image.float().numpy()}
    for a, b in zip(found.run(None, feed), ReferenceEvaluator(muted).run(None, feed), strict=True):
        assert np.array_equal(a, b)


def test_every_block_of_a_network_goes_exactly_alone_and_with_all_others() -> None:
    spec = yolov4(classes=2, width=0.0625, size=(32, 32))
    network = model(spec, random_state(spec), title="net")
    graph, dependencies = network.graph, analyze(network.graph)
    found = {own.name: own for own in blocks(graph)}
    assert len(found) > 10
    inputs = random_images(graph)
    first, *_ = found.values()
    for gone in ([first.reading], [own.reading for own in found.values()]):
        short = edit(graph, network.parameters, shortened(graph, gone))
        proof = exactness(
            dependencies, network.parameters, dependencies.kept({}), short, inputs, muted=gone
        )
        assert proof.passed and proof.values > 50
        # Not because zeros are everywhere: with the blocks it is another network.
        dense = outputs(graph, network.parameters, inputs)
        assert not all(map(torch.equal, dense, outputs(*short, inputs)))
        wrong = exactness(dependencies, network.parameters, dependencies.kept({}), short, inputs)
        assert not wrong.passed


def test_what_is_no_contribution_to_a_sum_is_refused(tmp_path: Path) -> None:
    graph = loaded(residual(), tmp_path).graph
    name = "sum"
    for gone, message in (
        ([("nobody", 0)], "nobody, input 0: no sum of two that the network has"),
        ([(graph.nodes[0].name, 0)], "no sum of two"),
        ([(name, 2)], "input 2: no sum"),
        ([(name, 0), (name, 1)], "only one term can go"),
    ):
        with pytest.raises(PlanError, match=message):
            check_readings(graph, gone)
    # A sum with a constant is none of two layers.
    nodes = tuple(
        replace(node, inputs=(node.inputs[0], "bias1")) if node.name == name else node
        for node in graph.nodes
    )
    assert not blocks(replace(graph, nodes=nodes))
