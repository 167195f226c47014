"""One prior of an input of 96x64 pixels, worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Surface
from yoloprune.detection.decoders.ssd import RETINAFACE, SSD, SSD_PRIORS


def decoded(
    decoder: Decoder, outputs: dict[str, Tensor], *operators: str, names: tuple[str, ...] = ("a",)
) -> Predictions:
    surface = Surface(
        size=(64, 96),
        outputs={name: tuple(tensor.shape) for name, tensor in outputs.items()},
        operators=frozenset(operators),
        metadata={},
        names=names,
    )
    read = decoder.read(surface)
    assert read is not None and read.classes == len(names)
    return read.decode(outputs)


def test_finished_boxes_are_fractions_of_the_input() -> None:
    boxes, scores = torch.tensor([[[0.25, 0.5, 0.5, 1.0]]]), torch.tensor([[[0.25, 0.75]]])
    found = decoded(SSD, {"boxes": boxes, "scores": scores}, "Softmax")
    assert found.boxes.tolist() == [[[24, 32, 48, 64]]]
    assert found.objectness.tolist() == [[0.75]]


def test_offsets_count_from_priors_in_tenths_and_fifths() -> None:
    priors = torch.tensor([[0.5, 0.5, 0.25, 0.5]])
    # A tenth of the prior's width to the right; twice as high.
    offsets = torch.tensor([[[1.0, 0.0, 0.0, math.log(2) / 0.2]]])
    scores = torch.tensor([[[0.0, math.log(3)]]])
    outputs = {"loc": offsets, "conf": scores, "priors": priors}
    found = decoded(SSD_PRIORS, outputs)
    center = 96 * (0.5 + 0.1 * 0.25)
    assert found.boxes[0, 0].tolist() == pytest.approx([center - 12, 0, center + 12, 64])
    # Logits: a third for the background, three thirds for the class.
    assert found.objectness.item() == pytest.approx(0.75)


def test_faces_start_from_two_priors_a_cell() -> None:
    count = 2 * (8 * 12 + 4 * 6 + 2 * 3)
    outputs = {
        "bbox": torch.zeros(1, count, 4),
        "confidence": torch.tensor([0.5, 0.5]).expand(1, count, 2),
        "landmark": torch.zeros(1, count, 10),
    }
    found = decoded(RETINAFACE, outputs, "Softmax").boxes[0]
    assert found[0].tolist() == pytest.approx([-4, -4, 12, 12])
    assert found[3].tolist() == pytest.approx([12 - 16, 4 - 16, 12 + 16, 4 + 16])
    assert found[-1].tolist() == pytest.approx([80 - 256, 48 - 256, 80 + 256, 48 + 256])
