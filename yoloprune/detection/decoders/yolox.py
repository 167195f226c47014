"""The outputs of YOLOX, with and without `--decode_in_inference`.

Facts: `yolox/models/yolo_head.py`, `yolox/utils/demo_utils.py`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface
from yoloprune.detection.decoders.grids import grid, strides_of
from yoloprune.detection.decoders.ultralytics import objectness_and_classes


def _raw(surface: Surface) -> Decoding | None:
    """Boxes (B, N, 5 + C): center in cells from their own, logarithm of the size in cells, ..."""
    name, shape = next(iter(surface.outputs.items()))
    if len(shape) != 3 or not surface.has_classes(shape[2] - 5):
        return None
    if (strides := strides_of(surface.size, shape[1])) is None:
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        rows = outputs[name]
        cells, widths = grid(surface.size, strides, rows)
        center, size = (rows[..., :2] + cells) * widths, rows[..., 2:4].exp() * widths
        return Predictions(
            boxes=box_cxcywh_to_xyxy(torch.cat((center, size), dim=-1)),
            objectness=rows[..., 4],
            classes=rows[..., 5:],
        )

    return Decoding(
        classes=shape[2] - 5, decode=decode, scores={name: (2, 5)}, objectness={name: (2, 4)}
    )


def _is_decoded(surface: Surface) -> bool:
    """Sizes come out of an exponential, and no other part of the network has one."""
    return "Exp" in surface.operators


YOLOX = Decoder(
    name="yolox",
    outputs="(1, boxes, 5 + classes), one box a cell, in pixels",
    read=lambda surface: None if _raw(surface) is None else objectness_and_classes(surface),
    evident=_is_decoded,
    preprocess="yolox",
)

YOLOX_RAW = Decoder(
    name="yolox-raw",
    outputs="(1, boxes, 5 + classes), one box a cell, in cells",
    read=_raw,
    evident=lambda surface: not _is_decoded(surface),
    preprocess="yolox",
)
