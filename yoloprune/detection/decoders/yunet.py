"""The twelve outputs of YuNet, a detector of faces: four of each stride.

Facts: `modules/objdetect/src/face_detect.cpp` of OpenCV. The landmarks are left out.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface
from yoloprune.detection.decoders.grids import grid

_STRIDES = (8, 16, 32)


def _read(surface: Surface) -> Decoding | None:
    wanted = {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox") for stride in _STRIDES}
    if not wanted <= surface.outputs.keys():
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        classes, objectness, places = (
            torch.cat([outputs[f"{kind}_{stride}"] for stride in _STRIDES], dim=1)
            for kind in ("cls", "obj", "bbox")
        )
        cells, widths = grid(surface.size, _STRIDES, places)
        center, size = (places[..., :2] + cells) * widths, places[..., 2:].exp() * widths
        # The score is the root of the product.
        return Predictions(
            boxes=box_cxcywh_to_xyxy(torch.cat((center, size), dim=-1)),
            objectness=objectness[..., 0].clamp(0, 1).sqrt(),
            classes=classes.clamp(0, 1).sqrt(),
        )

    # There is one class, which both kinds of scores are of.
    sure = {f"{kind}_{stride}": (2, 0) for kind in ("cls", "obj") for stride in _STRIDES}
    return Decoding(classes=1, decode=decode, objectness=sure)


YUNET = Decoder(
    name="yunet",
    outputs="cls_8, obj_8, bbox_8, cls_16, ... bbox_32",
    read=_read,
    evident=lambda surface: True,
    preprocess="yunet",
)
