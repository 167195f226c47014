"""The laws at the ONNX door: what is written is read again, and slim files are exact."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.frontends.onnx.models import free, loaded, proto_of, slimmed, two_convs, written
from tests.pruning.plans import random_plan
from tests.random_graphs import graphs, random_parameters
from tests.random_networks import network_specs
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.masked import masked
from yoloprune.pruning.verification import random_images


def through_a_file(graph: Graph, seed: int = 0) -> Model:
    """A graph written as an ONNX file and read again."""
    arrays = {name: tensor.numpy() for name, tensor in random_parameters(graph, seed).items()}
    arrays = {name: a.astype(graph.parameters[name].dtype) for name, a in arrays.items()}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        path.write_bytes(proto_of(graph, arrays).SerializeToString())
        return read(path)


def groups(dependencies: DependencyGraph) -> list[object]:
    return [
        (group.producers, group.consumers, group.frozen_because, group.equal_parts)
        for group in dependencies.groups
    ]


@settings(max_examples=40)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_slim_files_are_read_as_the_edited_graph(graph: Graph, seed: int) -> None:
    network = through_a_file(graph, seed)
    slim, found, _ = slimmed(network, seed)
    assert found.passed, found
    with TemporaryDirectory() as folder:
        slim.save(Path(folder) / "slim.onnx")
        again = read(Path(folder) / "slim.onnx")
    assert again.graph.digest() == slim.graph.digest()
    assert again.parameters.keys() == slim.parameters.keys()
    assert all(torch.equal(again.parameters[name], t) for name, t in slim.parameters.items())


@settings(max_examples=30)
@given(spec=network_specs())
def test_a_darknet_network_and_its_export_have_the_same_groups(spec: NetworkSpec) -> None:
    graph = lower(spec)
    # What darknet can remove in runs only, ONNX can remove one by one.
    assume(not graph.blocks)
    assert groups(analyze(through_a_file(graph).graph)) == groups(analyze(graph))


def test_an_untouched_file_is_written_byte_for_byte(tmp_path: Path) -> None:
    network = loaded(two_convs(), tmp_path)
    network.save(tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()


def test_keeping_every_channel_writes_the_same_file(tmp_path: Path) -> None:
    network = loaded(two_convs(), tmp_path)
    dependencies = analyze(network.graph)
    plan = random_plan(dependencies, 0)
    for group in dependencies.prunable:
        plan.keep[group.id] = tuple(range(group.size))
    network.edited(cut(dependencies, plan)).save(tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()


def test_what_is_not_cut_survives(tmp_path: Path) -> None:
    proto = two_convs(producer_name="maker", doc_string="what it is")
    proto.opset_import.add(domain="com.example", version=3)
    proto.graph.node[1].doc_string = "the activation"
    proto = onnx.shape_inference.infer_shapes(proto)
    network = loaded(proto, tmp_path)
    assert network.document.names == ("hand", "foot")
    slim, found, _ = slimmed(network)
    assert found.passed
    after = written(slim, tmp_path)
    assert after.producer_name == "maker"
    assert after.doc_string == "what it is"
    assert after.graph.doc_string == "what the graph is"
    assert [entry.value for entry in after.metadata_props] == ["32", "{0: 'hand', 1: 'foot'}"]
    assert [entry.version for entry in after.opset_import] == [17, 3]
    assert [n.name for n in after.graph.node] == ["first", "relu", "second"]
    assert after.graph.node[1].doc_string == "the activation"
    assert after.graph.input == proto.graph.input
    assert after.graph.output == proto.graph.output
    (count,) = {value.type.tensor_type.shape.dim[1].dim_value for value in after.graph.value_info}
    assert count == slim.graph.parameters["w1"].shape[0] < 8


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 21, 23])
def test_onnx_runtime_computes_in_slim_files_what_it_does_in_masked_ones(
    opset: int, tmp_path: Path
) -> None:
    network = loaded(two_convs(opset=opset), tmp_path)
    dependencies = analyze(network.graph)
    assert free(dependencies) == {"first"}
    plan = random_plan(dependencies, 0)
    slim = network.edited(cut(dependencies, plan))
    graph, parameters = masked(dependencies, network.parameters, plan)
    silent = Model(graph=graph, parameters=parameters, document=network.document.saying(graph))
    x = random_images(network.graph)["x"].float().numpy()
    found, expected = (
        onnxruntime.InferenceSession(
            written(own, tmp_path).SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"x": x})[0]
        for own in (slim, silent)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
