"""The outputs of files that this package exports."""

from collections.abc import Mapping

from torch import Tensor

from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface, scored


def _read(surface: Surface) -> Decoding | None:
    """Boxes (B, N, 4) in pixels, left, top, right, bottom; scores (B, N, C)."""
    boxes, scores = surface.outputs.get("boxes", ()), surface.outputs.get("scores", ())
    if len(scores) != 3 or boxes != (*scores[:2], 4) or not surface.has_classes(scores[2]):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        return scored(outputs["boxes"], outputs["scores"])

    return Decoding(classes=scores[2], decode=decode, scores={"scores": (2, 0)})


YOLOPRUNE = Decoder(
    name="yoloprune",
    outputs="boxes (1, boxes, 4) in pixels and scores (1, boxes, classes)",
    read=_read,
    evident=lambda surface: "suppression" in surface.metadata,
    preprocess="plain",
)
