"""The outputs of Ultralytics' detectors, and of those built like them (YOLOv7, YOLOv9, ...).

Facts: `ultralytics/nn/modules/head.py` and `models/yolo.py` of YOLOv5.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface, scored
from yoloprune.detection.decoders.grids import strides_of

MOST_CHOSEN = 1000
"""Boxes of a network that chooses the best itself; usually 300."""


def objectness_and_classes(surface: Surface) -> Decoding | None:
    """Boxes (B, N, 5 + C): center and size in pixels, objectness, classes."""
    name, shape = next(iter(surface.outputs.items()))
    if len(shape) != 3 or not surface.has_classes(shape[2] - 5):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        rows = outputs[name]
        return Predictions(
            boxes=box_cxcywh_to_xyxy(rows[..., :4]),
            objectness=rows[..., 4],
            classes=rows[..., 5:],
        )

    return Decoding(
        classes=shape[2] - 5, decode=decode, scores={name: (2, 5)}, objectness={name: (2, 4)}
    )


def _classes(surface: Surface) -> Decoding | None:
    name, shape = next(iter(surface.outputs.items()))
    if len(shape) != 3 or not surface.has_classes(shape[1] - 4):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        columns = outputs[name].transpose(1, 2)
        return scored(box_cxcywh_to_xyxy(columns[..., :4]), columns[..., 4:])

    return Decoding(classes=shape[1] - 4, decode=decode, scores={name: (1, 4)})


def _chosen(surface: Surface) -> Decoding | None:
    name, shape = next(iter(surface.outputs.items()))
    if len(shape) != 3 or shape[2] != 6:
        return None
    count = None if surface.names is None else len(surface.names)

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        rows = outputs[name]
        labels = rows[..., 5].round().long().clamp(min=0)
        if count is not None:
            labels = labels.clamp(max=count - 1)
        return Predictions(
            boxes=rows[..., :4],
            objectness=rows[..., 4],
            classes=F.one_hot(labels, count or -1).to(rows),
            suppressed=True,
        )

    return Decoding(classes=count, decode=decode, beside="its output holds class numbers")


def _cells_in(axis: int, per_cell: int, surface: Surface) -> bool:
    """Whether an axis of the first output has as many entries as there are boxes."""
    shape = next(iter(surface.outputs.values()))
    return strides_of(surface.size, shape[axis], per_cell=per_cell) is not None


YOLOV5 = Decoder(
    name="yolov5",
    outputs="(1, boxes, 5 + classes), three boxes a cell",
    read=objectness_and_classes,
    evident=lambda surface: _cells_in(1, 3, surface),
    preprocess="ultralytics",
)

YOLOV8 = Decoder(
    name="yolov8",
    outputs="(1, 4 + classes, boxes)",
    read=_classes,
    evident=lambda surface: len(surface.outputs) == 1 and _cells_in(2, 1, surface),
    preprocess="ultralytics",
)

END_TO_END = Decoder(
    name="end-to-end",
    outputs="(1, boxes, 6) of chosen boxes",
    read=_chosen,
    evident=lambda surface: next(iter(surface.outputs.values()))[1] <= MOST_CHOSEN,
    preprocess="ultralytics",
)
