"""One cell of an input of 96x64 pixels, worked out by hand."""

import math

import pytest
import torch

from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.yolox import YOLOX, YOLOX_RAW

CELLS = 8 * 12 + 4 * 6 + 2 * 3
SURFACE = Surface(size=(64, 96), outputs={"y": (1, CELLS, 7)}, metadata={})


def test_raw_boxes_count_from_their_cells() -> None:
    read = YOLOX_RAW.read(SURFACE)
    assert read is not None and read.classes == 2
    rows = torch.zeros(1, CELLS, 7)
    # Row 1, column 2 of stride 16: half a cell further, two cells wide.
    place = 96 + 6 + 2
    rows[0, place] = torch.tensor([0.5, 0.5, math.log(2), 0, 0.5, 0.25, 1])
    found = read.decode({"y": rows})
    assert found.boxes[0, place].tolist() == pytest.approx([40 - 16, 24 - 8, 40 + 16, 24 + 8])
    assert (found.objectness[0, place], found.classes[0, place].tolist()) == (0.5, [0.25, 1])
    # The others are where their cells are.
    assert found.boxes[0, 1].tolist() == [4, -4, 12, 4]


def test_decoded_boxes_are_read_as_they_are() -> None:
    read = YOLOX.read(SURFACE)
    assert read is not None
    rows = torch.zeros(1, CELLS, 7)
    rows[0, 0, :4] = torch.tensor([40, 24, 32, 16])
    assert read.decode({"y": rows}).boxes[0, 0].tolist() == [24, 16, 56, 32]


def test_another_number_of_boxes_is_none_of_its() -> None:
    other = Surface(size=(64, 96), outputs={"y": (1, CELLS + 1, 7)}, metadata={})
    assert YOLOX.read(other) is None
    assert YOLOX_RAW.read(other) is None
