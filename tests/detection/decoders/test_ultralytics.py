import pytest
import torch

from tests.detection.decoders import formats
from tests.detection.decoders.families import (
    TRUTH,
    found_in,
    outputs_of,
)
from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.ultralytics import END_TO_END, YOLOV5, YOLOV8


def test_what_a_network_did_not_choose_is_suppressed() -> None:
    outputs = outputs_of("yolov8", TRUTH[:1])
    outputs["output0"][0, :, 3] = outputs["output0"][0, :, formats.owner(TRUTH[0])]
    (found,) = found_in("yolov8", outputs)
    assert len(found.scores) == 1


def test_numbers_lie_where_the_family_puts_them() -> None:
    row = torch.tensor([40.0, 24, 32, 16, 0.5, 0.25, 1])
    for decoder, value, scores in (
        (YOLOV5, row[None, None], [0.125, 0.5]),
        (YOLOV8, row[None, :, None], [0.5, 0.25, 1]),
    ):
        read = decoder.read(Surface(size=(64, 96), outputs={"y": tuple(value.shape)}, metadata={}))
        assert read is not None and read.classes == len(scores)
        found = read.decode({"y": value})
        assert found.boxes.tolist() == [[[24, 16, 56, 32]]]
        assert (found.objectness[..., None] * found.classes).flatten().tolist() == scores


@pytest.mark.parametrize(("names", "classes"), [(None, 3), (("a", "b"), 2)])
def test_chosen_boxes_name_their_class(names: tuple[str, ...] | None, classes: int) -> None:
    surface = Surface(size=(64, 96), outputs={"y": (1, 2, 6)}, metadata={}, names=names)
    read = END_TO_END.read(surface)
    assert read is not None and read.classes == (names and len(names))
    rows = torch.tensor([[[1.0, 2, 3, 4, 0.75, 2], [5, 6, 7, 8, 0.5, 0]]])
    found = read.decode({"y": rows})
    assert found.boxes.tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]]]
    assert found.objectness.tolist() == [[0.75, 0.5]]
    # A class beyond the names is taken for the last.
    assert found.classes.argmax(dim=-1).tolist() == [[classes - 1, 0]]
    assert found.suppressed
