"""One query of an input of 96x64 pixels, worked out by hand."""

import pytest
import torch

from yoloprune.detection.decoders.decoder import Decoder, Surface
from yoloprune.detection.decoders.detr import RT_DETR, RT_DETR_LOGITS

CENTERED = (0.5, 0.5, 0.25, 0.5)
BOX = [36, 16, 60, 48]


@pytest.mark.parametrize(
    ("decoder", "outputs"),
    [
        (RT_DETR, {"y": (*CENTERED, 0.25, 0.75)}),
        (RT_DETR_LOGITS, {"pred_boxes": CENTERED, "logits": (-1.0986123, 1.0986123)}),
    ],
    ids=lambda value: value.name if isinstance(value, Decoder) else "",
)
def test_a_query_is_a_box(decoder: Decoder, outputs: dict[str, tuple[float, ...]]) -> None:
    tensors = {name: torch.tensor(row)[None, None] for name, row in outputs.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    surface = Surface(size=(64, 96), outputs=shapes, metadata={})
    read = decoder.read(surface)
    assert read is not None and read.classes == 2
    found = read.decode(tensors)
    assert found.boxes[0, 0].tolist() == BOX
    scores = (found.objectness[..., None] * found.classes)[0, 0]
    assert scores.tolist() == pytest.approx([0.25, 0.75])
    assert found.suppressed
    # Networks without deformable attention are not taken for one.
    assert not decoder.evident(surface)
