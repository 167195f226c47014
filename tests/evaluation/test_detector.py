import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, color_spec, color_state, paint
from tests.networks import network_of
from tests.odd_networks import SHAPES, odd_spec, opencv_rows
from tests.random_networks import random_state
from yoloprune.data.images import read_image
from yoloprune.data.preprocess import PRESETS, network_input
from yoloprune.detection.boxes import box_iou
from yoloprune.errors import CfgError
from yoloprune.evaluation.detector import Detector, detect_objects, network_detector
from yoloprune.frontends.darknet.parser import parse_cfg, write_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import write_weights


def detector(spec: NetworkSpec, state: State, resize: str = "stretch") -> Detector:
    found = network_detector(spec, network_of(spec, state))
    return replace(found, reads=found.reads.resized(resize))


def test_detections_are_in_the_pixels_of_the_image(tmp_path: Path) -> None:
    boxed = detector(color_spec(), color_state(), "darknet-letterbox")
    paint(tmp_path / "a.png", (64, 128), {(0, 1): GREEN_OBJECT, (1, 3): BLUE_OBJECT}, cell=32)
    found = detect_objects(boxed, read_image(tmp_path / "a.png"), threshold=0.5, iou_threshold=0.45)
    boxes = dict(zip(found.labels.tolist(), found.boxes_xyxy.tolist(), strict=True))
    assert boxes == {0: [32, 0, 64, 32], 1: [96, 32, 128, 64]}
    assert found.scores.tolist() == pytest.approx([0.9999092, 0.9999092])


def test_boxes_are_cut_at_the_borders_of_the_image(tmp_path: Path) -> None:
    state = color_state()
    # Twice as wide and high as the cell.
    state[0].bias[2:4] = np.log(2)
    paint(tmp_path / "a.png", (32, 32), {(0, 3): GREEN_OBJECT})
    found = detect_objects(
        detector(color_spec(), state),
        read_image(tmp_path / "a.png"),
        threshold=0.5,
        iou_threshold=0.45,
    )
    assert found.boxes_xyxy.tolist() == [pytest.approx([20, 0, 32, 12])]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_photo_is_seen_as_by_opencv(name: str, suffix: str, tmp_path: Path) -> None:
    spec = odd_spec(name)
    state = random_state(spec, 3, torch.float32)
    cfg, weights, photo = (tmp_path / f for f in ("net.cfg", "net.weights", f"photo{suffix}"))
    write_cfg(cfg, spec)
    write_weights(weights, spec, state)
    colors = np.random.default_rng(0).integers(0, 256, (9, 15, 3), np.uint8)
    cv2.imwrite(str(photo), colors.repeat(20, axis=0).repeat(20, axis=1))
    rows = torch.from_numpy(opencv_rows(cfg, weights, photo))
    channels, height, width = spec.input_shape
    fitted, _ = network_input(read_image(photo, channels), height, width, PRESETS["plain"])
    found = detector(spec, state).predict(torch.from_numpy(fitted)[None])
    corners = found.boxes[0].reshape(-1, 2, 2)
    size = torch.tensor([width, height])
    # OpenCV adds another epsilon to the variances of batch norms.
    torch.testing.assert_close(corners.mean(1) / size, rows[:, :2], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(corners.diff(dim=1)[:, 0] / size, rows[:, 2:4], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.objectness[0], rows[:, 4], rtol=1e-3, atol=1e-4)


def test_a_gray_network_sees_colors_by_their_luma(tmp_path: Path) -> None:
    spec = odd_spec("gray")
    gray = detector(spec, random_state(spec, 3, torch.float32))
    paint(tmp_path / "a.bmp", (64, 128), {(0, 1): GREEN_OBJECT, (1, 3): BLUE_OBJECT}, cell=32)
    options = {"threshold": 0.1, "iou_threshold": 0.45}
    colored, gray = (
        detect_objects(gray, read_image(tmp_path / "a.bmp", channels), **options)
        for channels in (3, 1)
    )
    assert len(gray.scores)
    assert torch.equal(colored.boxes_xyxy, gray.boxes_xyxy)
    odd = parse_cfg("[net]\nheight=8\nwidth=8\nchannels=4\n[convolutional]\n")
    with pytest.raises(CfgError, match="reads 4 channels"):
        detector(odd, random_state(odd, 3, torch.float32))


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def two_boxes(suppression: str) -> Detector:
    """Finds two boxes half as wide and high as any image, a third of their width apart."""
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=32\nwidth=32\n"
        "[convolutional]\nfilters=12\nsize=1\nstride=32\nactivation=linear\n"
        f"[yolo]\nmask=0,1\nanchors=16,16, 16,16\nclasses=1\nnum=2\n{suppression}\n"
    )
    first, second = (
        [logit(center), 0.0, 0.0, 0.0, 20.0, logit(score)]
        for center, score in ((5 / 12, 0.9951), (7 / 12, 0.9909))
    )
    parameters = ConvParameters(kernel=torch.zeros(12, 3, 1, 1), bias=torch.tensor(first + second))
    return detector(spec, {0: parameters})


@pytest.mark.parametrize(
    ("suppression", "size", "objects"),
    [
        ("", (32, 32), 1),  # IoU 0.5
        ("nms_kind=greedynms", (32, 32), 2),  # 0.5 less 0.145, as darknet counts it
        # In shares of the image that is so for images of any shape, by whatever resizing.
        ("nms_kind=greedynms", (16, 320), 2),
        ("nms_kind=diounms\nbeta_nms=2", (32, 32), 1),
    ],
)
def test_suppression_is_that_of_darknets_detector_test(
    suppression: str, size: tuple[int, int], objects: int
) -> None:
    image = np.zeros((*size, 3), np.uint8)
    boxes = two_boxes(suppression)
    found = detect_objects(boxes, image, threshold=0.25, iou_threshold=0.45)
    centers = [5 / 12, 7 / 12][:objects]
    assert found.scores.tolist() == pytest.approx([0.9951, 0.9909][:objects], abs=1e-4)
    assert found.boxes_xyxy[:, ::2].mean(dim=1).tolist() == pytest.approx(
        [center * size[1] for center in centers], abs=1e-3
    )
    # OpenCV and others know the IoU alone.
    plain = detect_objects(boxes, image, threshold=0.25, iou_threshold=0.45, iou=box_iou)
    assert len(plain.scores) == 1


def test_a_network_runs_in_its_own_dtype() -> None:
    network = network_of(color_spec(), color_state())
    images = torch.zeros(3, 3, 32, 32)
    assert network_detector(color_spec(), network).predict(images).boxes.shape == (3, 16, 4)
    assert (
        network_detector(color_spec(), network.double()).predict(images).boxes.dtype
        == torch.float64
    )


def test_gradients_and_the_mode_of_the_network_stay() -> None:
    network = network_of(color_spec(), color_state()).train()
    found = network_detector(color_spec(), network).predict(torch.zeros(1, 3, 32, 32))
    assert network.training and torch.is_grad_enabled()
    assert not found.boxes.requires_grad
