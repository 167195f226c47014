"""The zoo and the other architectures against published sizes and operation counts."""

import json
import math
from pathlib import Path

import pytest

from tests.architectures import ARCHITECTURES
from yoloprune.errors import CfgError, UsageError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import Conv, MaxPool, NetworkSpec, Shortcut
from yoloprune.frontends.darknet.zoo import NETWORKS, CfgBuilder, yolov3, yolov3_tiny

BUILDERS = NETWORKS | ARCHITECTURES
GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "architectures.json").read_text(encoding="utf-8")
)


def total_bflops(spec: NetworkSpec) -> float:
    """What darknet prints at start: convolutions, and its counts for shortcuts and max pools."""
    operations = cost(spec).flops
    for layer, shape in zip(spec.layers, layer_shapes(spec), strict=True):
        if isinstance(layer, Shortcut):
            operations += math.prod(shape) * (len(layer.sources) - 1)
        elif isinstance(layer, MaxPool):
            operations += math.prod(shape) * layer.size**2
    return operations / 1e9


def square(name: str, side: str) -> NetworkSpec:
    return BUILDERS[name](size=(int(side), int(side)))


@pytest.mark.parametrize("name", GOLDEN["networks"])
def test_published_file_sizes(name):
    golden = GOLDEN["networks"][name]
    spec = BUILDERS[name]()
    assert len(spec.layers) == golden["layers"]
    assert cost(spec).weight_bytes - 20 + golden["header_bytes"] == golden["file_bytes"]


@pytest.mark.parametrize(
    ("name", "side"), [(n, s) for n, g in GOLDEN["networks"].items() for s in g["total_bflops"]]
)
def test_operations_that_darknet_prints(name, side):
    printed = GOLDEN["networks"][name]["total_bflops"][side]
    assert round(total_bflops(square(name, side)), 3) == printed


@pytest.mark.parametrize(
    ("name", "side"), [(n, s) for n, g in GOLDEN["networks"].items() for s in g["conv_bflops"]]
)
def test_operations_of_convolutions_in_published_tables(name, side):
    published = GOLDEN["networks"][name]["conv_bflops"][side]
    # Some tables cut the digits that others round.
    assert cost(square(name, side)).flops / 1e9 == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize("name", GOLDEN["rounded"])
def test_rounded_figures(name):
    golden = GOLDEN["rounded"][name]
    spec = BUILDERS[name]()
    assert len(spec.layers) == golden["layers"]
    if "file_mebibytes" in golden:
        assert round(cost(spec).weight_bytes / 2**20) == golden["file_mebibytes"]
    if "million_params" in golden:
        assert round(cost(spec).params / 1e6, 1) == golden["million_params"]
    for side, published in golden["bflops"].items():
        # Half a percent covers what PyTorch's counters add for biases and activations.
        assert total_bflops(square(name, side)) == pytest.approx(published, rel=5e-3)


def test_one_class_yolov3():
    """The single-class network of the hand-detection case study."""
    found = cost(yolov3(classes=1))
    assert (found.params, round(found.macs / 1e9, 3)) == (61_523_734, 32.645)


@pytest.mark.parametrize("name", BUILDERS)
def test_heads_follow_the_classes_and_strides_the_size(name):
    spec = BUILDERS[name](classes=3, width=0.25, size=(96, 64))
    shapes = layer_shapes(spec)
    assert spec.input_shape == (3, 96, 64)
    for head in spec.heads:
        assert head.classes == 3
        channels, height, width = shapes[head.index]
        assert channels == 8 * len(head.anchors)
        assert (height % 3, width % 2, height * 2) == (0, 0, width * 3)


@pytest.mark.parametrize("name", BUILDERS)
def test_width_scales_the_filters_but_not_the_heads(name):
    full, half = BUILDERS[name](), BUILDERS[name](width=0.5)
    read_by_heads = {head.sources[0] for head in full.heads}
    for wide, narrow in zip(full.convs, half.convs, strict=True):
        expected = wide.filters if wide.index in read_by_heads else wide.filters // 2
        assert narrow.filters == expected


def test_builder_reports_the_layer_it_appended():
    net = CfgBuilder((32, 32))
    assert net.last == -1
    assert net.conv(8, 3) == 0
    assert net.conv(8, 3) == net.last == 1
    assert net.shortcut(0) == 2
    assert net.route(0, 2) == 3
    spec = net.spec()
    assert [layer.sources for layer in spec.layers] == [(-1,), (0,), (1, 0), (0, 2)]
    assert all(conv.activation == "leaky" for conv in spec.layers if isinstance(conv, Conv))


@pytest.mark.parametrize(
    "arguments",
    [{"classes": 0}, {"classes": 100_000}, {"width": 0}, {"width": -1.0}, {"width": math.nan},
     {"width": 17}, {"anchors": ((1, 2),)}, {"size": (0, 32)}, {"size": (100_000, 32)}],
)  # fmt: skip
def test_senseless_requests_are_refused(arguments):
    with pytest.raises((CfgError, UsageError)):
        yolov3_tiny(**arguments)
