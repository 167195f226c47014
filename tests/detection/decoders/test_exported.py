import torch

from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.exported import YOLOPRUNE


def test_boxes_are_read_as_they_are() -> None:
    outputs = {
        "boxes": torch.tensor([[[1.0, 2.0, 30.0, 40.0], [0.0, 0.0, 5.0, 5.0]]]),
        "scores": torch.tensor([[[0.5, 0.25, 0.0], [0.0, 0.0, 1.0]]]),
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in outputs.items()}
    surface = Surface(size=(64, 96), outputs=shapes, metadata={"suppression": "{}"})
    assert YOLOPRUNE.evident(surface)
    read = YOLOPRUNE.read(surface)
    assert read is not None and read.classes == 3
    found = read.decode(outputs)
    assert torch.equal(found.boxes, outputs["boxes"])
    assert torch.equal(found.objectness[..., None] * found.classes, outputs["scores"])
    assert not found.suppressed


def test_outputs_that_do_not_go_together_are_not_read() -> None:
    shapes = {"boxes": (1, 5, 4), "scores": (1, 6, 3)}
    assert YOLOPRUNE.read(Surface(size=(64, 96), outputs=shapes, metadata={})) is None
