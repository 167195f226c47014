"""The decode against the formulas in loops, and against OpenCV's Darknet importer."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.detection.decode import decode
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec, class_count
from yoloprune.frontends.darknet.weights import write_weights

HEIGHT, WIDTH = 64, 96
ANCHORS = [(12.0, 18.0), (37.0, 49.0), (52.0, 30.0)]


def network(*heads: str, activation: str = "linear", entries: int = 8) -> NetworkSpec:
    """A network whose heads read maps of stride 16, 8, ..., two anchors each."""
    text = f"[net]\nheight={HEIGHT}\nwidth={WIDTH}\nchannels=3\n"
    conv = f"[convolutional]\nfilters={2 * entries}\nsize=3\npad=1\nactivation={activation}\n"
    for index, head in enumerate(heads):
        if index:
            text += f"[route]\nlayers=0\n[upsample]\nstride={2**index}\n{conv}{head}\n"
        else:
            text += f"{conv}stride=16\n{head}\n"
    return parse_cfg(text)


def yolo(extra: str = "", classes: int = 3, kind: str = "yolo") -> str:
    anchors = ", ".join(f"{w:g},{h:g}" for w, h in ANCHORS)
    # thresh is OpenCV's: it drops scores that are not above it.
    return f"[{kind}]\nmask=0,2\nanchors={anchors}\nclasses={classes}\nnum=3\nthresh=0\n{extra}\n"


# OpenCV suppresses inside its region layer: boxes this slim do not overlap enough for that.
REGION = "[region]\nanchors=0.1,0.8, 0.7,0.2\nclasses=3\nnum=2\ncoords=4\nsoftmax=1\nthresh=0\n"


def in_opencv(spec: NetworkSpec, folder: Path, images: Tensor) -> Tensor:
    """Rows of OpenCV, [cx cy w h objectness scores...], relative, of all heads in order."""
    state = random_state(spec, 3, torch.float32)
    (folder / "net.cfg").write_text(format_cfg(spec))
    write_weights(folder / "net.weights", spec, state)
    net = cv2.dnn.readNetFromDarknet(str(folder / "net.cfg"), str(folder / "net.weights"))
    net.setInput(images.numpy())
    rows = net.forward(net.getUnconnectedOutLayersNames())
    return torch.from_numpy(np.concatenate([r.reshape(-1, r.shape[-1]) for r in rows]))


@pytest.mark.parametrize(
    ("heads", "activation"),
    [
        ([yolo()], "linear"),
        ([yolo("scale_x_y=1.2")], "linear"),
        ([yolo("scale_x_y=1.05"), yolo("scale_x_y=1.1")], "linear"),
        ([yolo("scale_x_y=2.0\nnew_coords=1")], "logistic"),
        ([REGION], "linear"),
    ],
    ids=["plain", "scale_x_y", "two heads", "new_coords", "region"],
)
def test_boxes_and_scores_are_those_of_opencv(
    heads: list[str], activation: str, tmp_path: Path
) -> None:
    spec = network(*heads, activation=activation)
    images = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    rows = in_opencv(spec, tmp_path, images)
    model = network_of(spec, random_state(spec, 3, torch.float32))
    with torch.no_grad():
        found = decode(spec, model(images))

    size = torch.tensor([WIDTH, HEIGHT])
    corners = found.boxes[0].reshape(-1, 2, 2)
    torch.testing.assert_close(corners.mean(1) / size, rows[:, :2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(corners.diff(dim=1)[:, 0] / size, rows[:, 2:4], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.objectness[0], rows[:, 4], rtol=1e-4, atol=1e-5)
    scores = found.objectness[0, :, None] * found.classes[0]
    torch.testing.assert_close(scores, rows[:, 5:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "entries"),
    [
        (yolo("scale_x_y=1.1"), 8),
        (yolo("scale_x_y=2\nnew_coords=1"), 8),
        (yolo("scale_x_y=1.1", kind="Gaussian_yolo"), 12),
        (REGION, 8),
    ],
    ids=["yolo", "new_coords", "gaussian", "region"],
)
def test_boxes_follow_the_formulas(head: str, entries: int) -> None:
    spec = network(head, entries=entries)
    rows, columns = HEIGHT // 16, WIDTH // 16
    maps = torch.randn(2, 2 * entries, rows, columns, dtype=torch.float64)
    found = decode(spec, (maps,))
    assert found.boxes.shape == (2, rows * columns * 2, 4)
    expected = [
        _by_hand(spec, maps[image, anchor * entries :, row, column].tolist(), anchor, row, column)
        for image in range(2)
        for row in range(rows)
        for column in range(columns)
        for anchor in range(2)
    ]
    flat = torch.cat((found.boxes, found.objectness[..., None], found.classes), dim=2)
    torch.testing.assert_close(flat.reshape(-1, 8), torch.tensor(expected, dtype=torch.float64))


def test_decode_can_be_exported() -> None:
    spec = network(yolo(), yolo("scale_x_y=1.1"))

    class Decoder(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            found = decode(spec, (a, b))
            return found.boxes, found.objectness, found.classes

    maps = (torch.randn(2, 16, 4, 6), torch.randn(2, 16, 8, 12))
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(Decoder(), maps, dynamic_shapes=({0: batch}, {0: batch}))
    other = tuple(torch.cat((m, m, m)) for m in maps)
    for exported, own in zip(program.module()(*other), Decoder()(*other), strict=True):
        assert torch.equal(exported, own)


def test_predictions_keep_the_dtype() -> None:
    found = decode(network(yolo()), (torch.zeros(1, 16, 4, 6, dtype=torch.float16),))
    assert {found.boxes.dtype, found.objectness.dtype, found.classes.dtype} == {torch.float16}


def test_a_network_without_heads_has_nothing_to_decode() -> None:
    spec = parse_cfg("[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=4\n")
    with pytest.raises(CfgError, match="no detection head"):
        decode(spec, (torch.zeros(1, 4, 8, 8),))


def test_heads_must_agree_on_the_classes() -> None:
    text = format_cfg(network(yolo(), yolo())).rsplit("[convolutional]", 1)
    other = text[1].replace("filters=16", "filters=14").replace("classes=3", "classes=2")
    spec = parse_cfg("[convolutional]".join((text[0], other)))
    with pytest.raises(CfgError, match=r"different numbers of classes \(\[2, 3\]\)"):
        class_count(spec)


def _by_hand(spec: NetworkSpec, t: list[float], anchor: int, row: int, column: int) -> list[float]:
    """[left top right bottom objectness classes...] of one box, as darknet's sources have it."""

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    (head,) = spec.heads
    width, height = head.anchors[anchor]
    kind = type(head).__name__
    scale = getattr(head, "scale_x_y", 1.0)
    if kind == "Region":
        x, y, w, h = sigmoid(t[0]), sigmoid(t[1]), math.exp(t[2]) * width, math.exp(t[3]) * height
        w, h = w * 16, h * 16
        powers = [math.exp(value) for value in t[5:8]]
        objectness, classes = sigmoid(t[4]), [power / sum(powers) for power in powers]
    elif kind == "GaussianYolo":
        x, y, w, h = sigmoid(t[0]), sigmoid(t[2]), math.exp(t[4]) * width, math.exp(t[6]) * height
        doubt = sum(sigmoid(t[i]) for i in (1, 3, 5, 7)) / 4
        objectness, classes = sigmoid(t[8]) * (1 - doubt), [sigmoid(value) for value in t[9:12]]
    elif getattr(head, "new_coords", False):
        x, y, w, h = t[0], t[1], (2 * t[2]) ** 2 * width, (2 * t[3]) ** 2 * height
        objectness, classes = t[4], t[5:8]
    else:
        x, y, w, h = sigmoid(t[0]), sigmoid(t[1]), math.exp(t[2]) * width, math.exp(t[3]) * height
        objectness, classes = sigmoid(t[4]), [sigmoid(value) for value in t[5:8]]
    x = (x * scale - 0.5 * (scale - 1) + column) * 16
    y = (y * scale - 0.5 * (scale - 1) + row) * 16
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2, objectness, *classes]
