"""Networks without some heads: what is left computes the same, under new numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.architectures import yolov4, yolov7_tiny
from yoloprune.frontends.darknet.closing import without_heads
from yoloprune.frontends.darknet.document import darknet, model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import read_cfg, write_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3, yolov3_tiny
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.verification import random_images

NETWORKS: dict[str, Callable[..., NetworkSpec]] = {
    "yolov3-tiny": yolov3_tiny,
    "yolov3": yolov3,
    "yolov4": yolov4,
    "yolov7-tiny": yolov7_tiny,
}


def network(spec: NetworkSpec) -> Model:
    return model(spec, random_state(spec), title="net", names=("a", "b"))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("gone", [(0,), (-1,), (0, 1)])
def test_the_other_heads_give_the_same(name: str, gone: tuple[int, ...], tmp_path: Path) -> None:
    dense = network(NETWORKS[name](classes=2, width=0.0625, size=(32, 32)))
    heads = darknet(dense).spec.heads
    if len(heads) <= len(gone):
        return
    numbers = [heads[place].index for place in gone]
    left, number = without_heads(dense, numbers)
    spec = darknet(left).spec
    assert [number[head.index] for head in heads if head.index not in numbers] == [
        head.index for head in spec.heads
    ]
    assert len(spec.layers) == len(number) < len(darknet(dense).spec.layers) - len(gone)
    assert darknet(left).names == ("a", "b")
    write_cfg(tmp_path / "left.cfg", spec)
    assert read_cfg(tmp_path / "left.cfg").digest() == spec.digest()
    inputs = random_images(dense.graph)
    names = [name for name in dense.graph.outputs if int(name.split("_")[1]) not in numbers]
    given = zip(dense.graph.outputs, outputs(dense.graph, dense.parameters, inputs), strict=True)
    wanted = [value for own, value in given if own in names]
    found = outputs(left.graph, left.parameters, inputs)
    assert len(found) == len(wanted)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


CFG = """[net]
width=32
height=32
channels=3
[convolutional]
filters=21
size=1
stride=16
pad=1
activation=linear
[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=2
{between}
[convolutional]
filters=21
size=1
stride=1
pad=1
activation=linear
[yolo]
mask=0,1,2
anchors=1,2,3,4,5,6
num=3
classes=2
"""


@pytest.mark.parametrize(
    ("written", "left"), [("layers=0", "0"), ("layers=-2", "-1"), ("layers = 0 # first", "0")]
)
def test_references_stay_relative_or_absolute(tmp_path: Path, written: str, left: str) -> None:
    (tmp_path / "net.cfg").write_text(CFG.format(between=f"[route]\n{written}"))
    dense = network(read_cfg(tmp_path / "net.cfg"))
    spec = darknet(without_heads(dense, [1])[0]).spec
    assert [layer.section.name for layer in spec.layers] == [
        *("convolutional", "route", "convolutional", "yolo")
    ]
    (option,) = spec.layers[1].section.options
    assert option.value.split("#")[0].strip() == left
    assert spec.layers[1].sources == (0,)
