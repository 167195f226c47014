from pathlib import Path

import numpy as np
import pytest
import torch

from tests.colour_detector import BLUE_OBJECT, GREEN_OBJECT, colour_spec, colour_state, paint
from yoloprune.data.images import letterbox, read_image, stretch
from yoloprune.evaluation.inference import detect_objects, inference, predict
from yoloprune.model.network import Network


@pytest.fixture
def network() -> Network:
    return Network.from_state(colour_spec(), colour_state())


def test_detections_are_in_the_pixels_of_the_image(network: Network, tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (64, 128), {(0, 1): GREEN_OBJECT, (1, 3): BLUE_OBJECT}, cell=32)
    found = detect_objects(
        network, read_image(tmp_path / "a.png"), letterbox, threshold=0.5, iou_threshold=0.45
    )
    boxes = dict(zip(found.labels.tolist(), found.boxes_xyxy.tolist(), strict=True))
    assert boxes == {0: [32, 0, 64, 32], 1: [96, 32, 128, 64]}
    assert found.scores.tolist() == pytest.approx([0.9999092, 0.9999092])


def test_boxes_are_cut_at_the_borders_of_the_image(tmp_path: Path) -> None:
    state = colour_state()
    # Twice as wide and high as the cell.
    state[0].bias[2:4] = np.log(2)
    network = Network.from_state(colour_spec(), state)
    paint(tmp_path / "a.png", (32, 32), {(0, 3): GREEN_OBJECT})
    found = detect_objects(
        network, read_image(tmp_path / "a.png"), stretch, threshold=0.5, iou_threshold=0.45
    )
    assert found.boxes_xyxy.tolist() == [pytest.approx([20, 0, 32, 12])]


def test_a_network_runs_in_its_own_dtype(network: Network) -> None:
    images = [np.zeros((3, 32, 32), np.float32)] * 3
    assert predict(network, images).boxes.shape == (3, 16, 4)
    assert predict(network.double(), images).boxes.dtype == torch.float64


def test_inference_is_left_even_by_an_error(network: Network) -> None:
    network.train()
    with pytest.raises(ZeroDivisionError), inference(network):
        assert not network.training
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert network.training
    assert torch.is_grad_enabled()
