"""The output of FastestDet: one head, one box a cell, its likeliest class alone.

Facts: `utils/tool.py` of FastestDet.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface

_OBJECTNESS_POWER, _CLASS_POWER = 0.6, 0.4
_STRIDE = 16


def _read(surface: Surface) -> Decoding | None:
    name, shape = next(iter(surface.outputs.items()))
    if len(surface.outputs) != 1 or len(shape) != 4 or not surface.has_classes(shape[1] - 5):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        maps = outputs[name]
        rows, columns = maps.shape[2:]
        entries = maps.flatten(2).transpose(1, 2)  # (B, N, 5 + C)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack((x, y), dim=-1).reshape(-1, 2).to(maps)
        center = (entries[..., 1:3].tanh() + cells) / maps.new_tensor((columns, rows))
        boxes = torch.cat((center, entries[..., 3:5].sigmoid()), dim=-1)
        likeliest = entries[..., 5:].max(dim=-1, keepdim=True)
        classes = torch.zeros_like(entries[..., 5:])
        height, width = surface.size
        return Predictions(
            boxes=box_cxcywh_to_xyxy(boxes) * maps.new_tensor((width, height) * 2),
            objectness=entries[..., 0] ** _OBJECTNESS_POWER,
            classes=classes.scatter(2, likeliest.indices, likeliest.values**_CLASS_POWER),
        )

    return Decoding(
        classes=shape[1] - 5,
        decode=decode,
        scores={name: (1, 5)},
        objectness={name: (1, 0)},
        beside="of each box the likeliest class alone counts: without the others, more boxes count",
    )


def _evident(surface: Surface) -> bool:
    (shape,) = surface.outputs.values()
    cells = tuple(side // _STRIDE for side in surface.size)
    return shape[2:] == cells and "Softmax" in surface.operators


FASTESTDET = Decoder(
    name="fastestdet",
    outputs="(1, 5 + classes, height / 16, width / 16)",
    read=_read,
    evident=_evident,
    preprocess="fastestdet",
)
