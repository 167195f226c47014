"""One box of each kind of head, worked out by hand; ONNX's reference runs the nodes."""

import math

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.heads import lower_boxes, raw_map
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.builder import GraphBuilder

# Cells of 8 x 4 pixels in an input of 16 x 8.
CFG = """[net]
height=8
width=16
channels=3
[convolutional]
filters={filters}
size=1
stride_y=4
stride_x=8
activation={activation}
{head}
"""
YOLO = "[yolo]\nanchors=6,3\nmask=0\nnum=1\nclasses=1\n"
HEADS = {
    "yolo": ("linear", YOLO, [0, math.log(3), 0, 0, 0, 0]),
    "scale_x_y": ("linear", f"{YOLO}scale_x_y=2\n", [0, math.log(5 / 3), 0, 0, 0, 0]),
    "new_coords": ("logistic", f"{YOLO}new_coords=1\n", [0.5, 0.75, 0.5, 0.5, 0.5, 0.5]),
    # Anchors in cells; of one class the soft-max is 1.
    "region": (
        "linear",
        "[region]\nanchors=0.75,0.75\nnum=1\nclasses=1\nsoftmax=1\n",
        [0, math.log(3), 0, 0, -math.log(3), 5],
    ),
    # Doubts of a half each: the object counts half of its 1/2; the class is certain.
    "gaussian": (
        "linear",
        "[Gaussian_yolo]\nanchors=6,3\nmask=0\nnum=1\nclasses=1\n",
        [0, 0, math.log(3), 0, 0, 0, 0, 0, 0, 40],
    ),
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_box_lies_where_its_cell_and_its_anchor_say(kind: str) -> None:
    activation, head, entries = HEADS[kind]
    spec = parse_cfg(CFG.format(filters=len(entries), activation=activation, head=head))
    graph = GraphBuilder(opset=15, dtype="float64")
    name = raw_map(spec.heads[0])
    graph.input(name, (1, len(entries), 2, 2))
    outputs = lower_boxes(graph, spec, layer_shapes(spec))
    assert outputs == {"boxes": (4, 4), "scores": (4, 1)}
    model = onnx_model(graph.build({key: (1, *shape) for key, shape in outputs.items()}), {})
    maps = np.zeros((1, len(entries), 2, 2))
    maps[0, :, 1, 0] = entries
    boxes, scores = ReferenceEvaluator(model).run(None, {name: maps})
    # The middle at (1/2, 3/4) of the cell, the anchor's size.
    np.testing.assert_allclose(boxes[0, 2], [4 - 3, 7 - 1.5, 4 + 3, 7 + 1.5], atol=1e-12)
    np.testing.assert_allclose(scores[0, 2], [0.25], atol=1e-12)


def test_heads_must_agree_on_their_classes() -> None:
    text = CFG.format(filters=6, activation="linear", head=YOLO)
    other = f"[route]\nlayers=0\n[convolutional]\nfilters=7\nactivation=linear\n{YOLO}"
    spec = parse_cfg(text + other.replace("classes=1", "classes=2"))
    with pytest.raises(CfgError, match="different numbers of classes"):
        lower_boxes(GraphBuilder(opset=15), spec, layer_shapes(spec))
