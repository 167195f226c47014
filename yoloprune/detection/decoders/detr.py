"""The outputs of RT-DETR and of other detectors with queries and a score for each class.

Facts: `ultralytics/nn/modules/head.py`, `src/zoo/rtdetr/rtdetr_postprocessor.py` of RT-DETR.
"""

from collections.abc import Mapping

from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface, scored
from yoloprune.detection.decoders.ultralytics import MOST_CHOSEN


def _together(surface: Surface) -> Decoding | None:
    """Queries (B, N, 4 + C): center and size as fractions of the input, scores."""
    name, shape = next(iter(surface.outputs.items()))
    if len(shape) != 3 or not surface.has_classes(shape[2] - 4):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        rows = outputs[name]
        return _predictions(surface, rows[..., :4], rows[..., 4:])

    return Decoding(classes=shape[2] - 4, decode=decode, scores={name: (2, 4)})


def _apart(surface: Surface) -> Decoding | None:
    """Boxes (B, N, 4) as above, and logits (B, N, C)."""
    logits = [name for name in surface.outputs if "logits" in name]
    boxes = [name for name in surface.outputs if "boxes" in name]
    if len(logits) != 1 or len(boxes) != 1:
        return None
    shape, other = surface.outputs[logits[0]], surface.outputs[boxes[0]]
    if len(shape) != 3 or other != (*shape[:2], 4) or not surface.has_classes(shape[2]):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        return _predictions(surface, outputs[boxes[0]], outputs[logits[0]].sigmoid())

    return Decoding(classes=shape[2], decode=decode, scores={logits[0]: (2, 0)})


def _predictions(surface: Surface, boxes: Tensor, scores: Tensor) -> Predictions:
    height, width = surface.size
    extent = boxes.new_tensor((width, height) * 2)
    return scored(box_cxcywh_to_xyxy(boxes) * extent, scores, suppressed=True)


def _evident(surface: Surface) -> bool:
    """Deformable attention samples its maps; few boxes are left."""
    queries = [shape[1] for shape in surface.outputs.values() if len(shape) == 3]
    return "GridSample" in surface.operators and max(queries) <= MOST_CHOSEN


RT_DETR = Decoder(
    name="rt-detr",
    outputs="(1, queries, 4 + classes)",
    read=_together,
    evident=_evident,
    preprocess="plain",
)

RT_DETR_LOGITS = Decoder(
    name="rt-detr-logits",
    outputs="logits (1, queries, classes) and pred_boxes (1, queries, 4)",
    read=_apart,
    evident=_evident,
    preprocess="plain",
)
