from dataclasses import replace

import pytest

from tests import architectures
from tests.pruning.darknet import dependencies
from yoloprune.errors import VerificationError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.torch_pruning_check import cross_check


@pytest.mark.parametrize(
    "build", [architectures.yolov4, architectures.yolov4_csp, architectures.yolov7_tiny]
)
def test_larger_families_agree_with_the_trace(build: "type[NetworkSpec]") -> None:
    graph = dependencies(build(classes=1, width=0.125, size=(64, 64)))
    check = cross_check(graph)
    assert check.passed, (check.only_ours, check.only_traced)


def test_a_difference_is_reported_with_both_sides() -> None:
    graph = dependencies(yolov3(classes=1, width=0.125, size=(64, 64)))
    first, *others = graph.groups
    wrong = replace(first, consumers=first.consumers[:0])
    check = cross_check(replace(graph, groups=(wrong, *others)))
    assert not check.passed
    assert len(check.only_ours) == len(check.only_traced) == 1
    assert check.only_ours[0][0] == check.only_traced[0][0] == (("layer_0.conv", 4),)
    assert check.only_ours[0][1] == ()


def test_a_network_without_heads_agrees_too() -> None:
    text = (
        "[net]\nheight=8\nwidth=8\nchannels=3\n"
        "[convolutional]\nfilters=4\nactivation=leaky\n"
        "[convolutional]\nfilters=4\ngroups=4\nsize=3\npad=1\nactivation=leaky\n"
        "[convolutional]\nfilters=2\nactivation=linear\n"
    )
    check = cross_check(dependencies(parse_cfg(text)))
    assert check.passed, (check.only_ours, check.only_traced)
    assert check.agreed == (((("layer_0.conv", 4), ("layer_1.conv", 4)), ("layer_2.conv",)),)


def test_a_classifier_of_no_file_agrees() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 3, 8, 8))
    kernel = graph.parameter("conv.kernel", (8, 3, 3, 3))
    x = graph.node("conv", "Conv", x, kernel, pads=(0, 0, 1, 1), strides=(2, 2))
    x = graph.node("pool", "GlobalAveragePool", graph.node("relu", "Relu", x))
    x = graph.node("gemm", "Gemm", graph.node("flat", "Flatten", x), graph.parameter("a", (8, 6)))
    x = graph.node("product", "MatMul", x, graph.parameter("b", (6, 4)))
    check = cross_check(analyze(graph.build({x: ("batch", 4)})))
    assert check.passed, (check.only_ours, check.only_traced)
    assert check.agreed == (((("conv", 8),), ("gemm",)), ((("gemm", 6),), ("product",)))


def test_a_network_that_cannot_be_traced_is_an_error_not_an_agreement() -> None:
    with pytest.raises(VerificationError, match="Torch-Pruning"):
        cross_check(dependencies(parse_cfg(ONE_CONV)))


ONE_CONV = (
    "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=6\nactivation=linear\n"
    "[yolo]\nmask=0\nanchors=4,4\nnum=1\nclasses=1\n"
)
