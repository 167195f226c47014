"""What a file says of itself is what it does."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.color_detector import color_spec, color_state
from tests.random_networks import random_state
from yoloprune.exporters.interface import OnnxForm, interface, interface_lines, is_decodable
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import yolov3_tiny

HEADLESS = "[net]\nheight=8\nwidth=16\nchannels=1\n[convolutional]\nfilters=2\nactivation=linear\n"
TWO_HEADS = """[net]
height=16
width=32
channels=3
[convolutional]
filters=16
stride=4
activation=linear
[region]
anchors=1,2, 0.5,3
num=2
classes={classes}
softmax=1
[route]
layers=0
[yolo]
mask=1,0
anchors=4,5, 6,7
num=2
classes=3
scale_x_y=1.05
"""


def test_the_metadata_of_a_decoded_file(tmp_path: Path) -> None:
    spec = yolov3_tiny(classes=2, width=0.0625, size=(64, 96))
    path = tmp_path / "net.onnx"
    export_onnx(spec, random_state(spec, 1, torch.float32), path, decoded=True, names=("a", "ü"))
    found = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert found == {
        "input": {
            "name": "images",
            "dtype": "float32",
            "layout": "NCHW",
            "shape": ["batch", 3, 64, 96],
            "color": "RGB",
            "range": [0, 1],
            "resize": "stretch",
        },
        "outputs": {
            "boxes": {
                "shape": ["batch", 90, 4],
                "content": "left, top, right, bottom in pixels of the input",
            },
            "scores": {
                "shape": ["batch", 90, 2],
                "content": "objectness times class probability, 0 to 1",
            },
        },
        "suppression": {
            "applied": False,
            "score_threshold": 0.25,
            "iou_threshold": 0.45,
            "per_class": True,
        },
        "names": ["a", "ü"],
    }


def test_a_raw_map_can_be_decoded_by_what_the_metadata_says(tmp_path: Path) -> None:
    """From the metadata alone, without the cfg: the painted cell's box comes out."""
    path = tmp_path / "net.onnx"
    export_onnx(color_spec(), color_state(), path)
    session = onnxruntime.InferenceSession(str(path))
    image = np.zeros((1, 3, 32, 32), np.float32)
    image[0, :2, 8:16, 16:24] = 1  # Red and green: an object of class 0.
    outputs = json.loads(session.get_modelmeta().custom_metadata_map["outputs"])
    ((name, about),) = outputs.items()
    (raw,) = session.run([name], {"images": image})
    ((width, height),), (stride_x, stride_y) = about["anchors"], about["stride"]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    t = raw.reshape(1, 5 + about["classes"], *raw.shape[2:])[0]
    row, column = np.unravel_index(t[4].argmax(), t[4].shape)
    stretch = about["scale_x_y"]
    x, y = (sigmoid(t[i, row, column]) * stretch - (stretch - 1) / 2 for i in (0, 1))
    center = ((column + x) * stride_x, (row + y) * stride_y)
    size = (width * np.exp(t[2, row, column]), height * np.exp(t[3, row, column]))
    assert about["head"] == "yolo" and not about["new_coords"]
    np.testing.assert_allclose((*center, *size), (20, 12, 8, 8), atol=1e-4)
    scores = sigmoid(t[4, row, column]) * sigmoid(t[5:, row, column])
    np.testing.assert_allclose(scores, (1, 0), atol=1e-3)


def test_anchors_are_in_pixels_whatever_the_head_counts_in() -> None:
    spec = parse_cfg(TWO_HEADS.format(classes=3))
    outputs = interface(spec, OnnxForm())["outputs"]
    assert list(outputs) == ["head_1", "head_3"]
    region, yolo = outputs.values()
    assert (region["head"], region["stride"]) == ("region", [4, 4])
    assert region["anchors"] == [[4, 8], [2, 12]]
    assert (yolo["head"], yolo["anchors"]) == ("yolo", [[6, 7], [4, 5]])
    assert (yolo["scale_x_y"], region["scale_x_y"]) == (1.05, 1)
    assert yolo["shape"] == ["batch", 16, 4, 8]


def test_sentences_say_what_the_metadata_says() -> None:
    spec = color_spec("letter_box=1")
    text = "\n".join(interface_lines(interface(spec, OnnxForm(decoded=True, names=("a", "b")))))
    for part in (
        "`images`: float32 (batch, 3, 32, 32), RGB, values from 0 to 1 (bytes divided by 255)",
        "resized bilinearly into 32x32 with its aspect ratio kept, centered on 0.5",
        "`boxes`: (batch, 16, 4), left, top, right, bottom in pixels of the input",
        "`scores`: (batch, 16, 2), objectness times class probability",
        "drop scores up to 0.25",
        "IoU with a better one is above 0.45",
        "Classes: a, b.",
    ):
        assert part in text
    text = "\n".join(interface_lines(interface(color_spec(), OnnxForm(batch=1))))
    for part in (
        "stretched to 32x32",
        "`head_1`: (1, 7, 4, 4), raw map of a [yolo] head: 1 anchors (8x8 pixels), 2 classes",
    ):
        assert part in text
    assert "Classes" not in text


def test_a_network_without_heads_has_no_boxes_to_speak_of() -> None:
    document = interface(parse_cfg(HEADLESS), OnnxForm())
    assert document["outputs"] == {"output": {"shape": ["batch", 2, 8, 16]}}
    assert "suppression" not in document and document["input"]["color"] == "gray"
    assert interface_lines(document)[-1] == "Output `output`: (batch, 2, 8, 16)."


@pytest.mark.parametrize(("classes", "expected"), [(3, True), (1, False)])
def test_boxes_need_heads_of_the_same_classes(classes: int, expected: bool) -> None:
    text = TWO_HEADS.format(classes=classes).replace("filters=16", "filters=16", 1)
    if classes == 1:
        text = text.replace("anchors=1,2, 0.5,3\nnum=2", "anchors=1,2, 1,2, 1,2\nnum=3")
        text = text.replace("[region]", "[convolutional]\nfilters=18\nactivation=linear\n[region]")
    assert is_decodable(parse_cfg(text)) is expected
