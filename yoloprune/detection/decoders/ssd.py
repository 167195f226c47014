"""The outputs of single-shot detectors with priors; the first class is the background.

W. Liu et al., "SSD: Single Shot MultiBox Detector", 2016; facts: `pytorch-ssd`, `ssd.pytorch`,
`Pytorch_Retinaface`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.detection.boxes import box_cxcywh_to_xyxy
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decode, Decoder, Decoding, Surface, scored
from yoloprune.detection.decoders.grids import grid, strides_of

_VARIANCES = (0.1, 0.2)
_FEWEST = 500
"""Priors; networks with fewer boxes have chosen them."""

_FACES = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Sides in pixels of RetinaFace's priors, by stride."""


def _finished(surface: Surface) -> Decoding | None:
    """Boxes (B, N, 4) as fractions of the input, left, top, right, bottom; scores (B, N, 1 + C)."""
    pair = _pair(surface)
    if pair is None or len(surface.outputs) != 2:
        return None
    boxes, scores = pair

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        return _predictions(surface, outputs[boxes], outputs[scores])

    return _decoding(surface, scores, decode)


def _with_priors(surface: Surface) -> Decoding | None:
    """Offsets (B, N, 4) from the priors (N, 4), which are an output, too; scores as above."""
    pair = _pair(surface)
    if pair is None or len(surface.outputs) != 3:
        return None
    offsets, scores = pair
    (priors,) = surface.outputs.keys() - set(pair)
    if surface.outputs[priors][-2:] != surface.outputs[offsets][1:]:
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        boxes = _placed(outputs[offsets], outputs[priors].reshape(-1, 4))
        return _predictions(surface, boxes, outputs[scores])

    return _decoding(surface, scores, decode)


def _faces(surface: Surface) -> Decoding | None:
    """Offsets (B, N, 4) from priors that are not in the file; scores (B, N, 2); landmarks."""
    pair = _pair(surface)
    if pair is None or surface.outputs[pair[1]][2] != 2:
        return None
    offsets, scores = pair
    if strides_of(surface.size, surface.outputs[offsets][1], per_cell=2) != tuple(_FACES):
        return None

    def decode(outputs: Mapping[str, Tensor]) -> Predictions:
        boxes = _placed(outputs[offsets], _face_priors(surface.size, outputs[offsets]))
        return _predictions(surface, boxes, outputs[scores])

    return Decoding(classes=1, decode=decode)


def _pair(surface: Surface) -> tuple[str, str] | None:
    """The outputs with boxes and with scores, in a network that has one of each."""
    shapes = {name: shape for name, shape in surface.outputs.items() if len(shape) == 3}
    boxes = [name for name, shape in shapes.items() if shape[2] == 4 and "prior" not in name]
    # Of three classes there are as many scores as coordinates.
    boxes = [name for name in boxes if "score" not in name and "conf" not in name]
    if len(boxes) != 1:
        return None
    scores = [
        name
        for name, shape in shapes.items()
        if name != boxes[0]
        and shape[1] == shapes[boxes[0]][1]
        and "land" not in name
        and surface.has_classes(shape[2] - 1)
    ]
    return (boxes[0], scores[0]) if len(scores) == 1 else None


def _placed(offsets: Tensor, priors: Tensor) -> Tensor:  # (B, N, 4), (N, 4) -> (B, N, 4)
    center = priors[:, :2] + offsets[..., :2] * _VARIANCES[0] * priors[:, 2:]
    size = priors[:, 2:] * (offsets[..., 2:] * _VARIANCES[1]).exp()
    return box_cxcywh_to_xyxy(torch.cat((center, size), dim=-1))


def _face_priors(size: tuple[int, int], like: Tensor) -> Tensor:  # -> (N, 4)
    """Center and size as fractions of the input, the smaller of a cell's two first."""
    extent = like.new_tensor((size[1], size[0]))
    found = []
    for stride, sides in _FACES.items():
        cells, _ = grid(size, (stride,), like)
        center = ((cells + 0.5) * stride / extent)[:, None].expand(-1, 2, -1)
        sizes = (like.new_tensor(sides)[:, None] / extent).expand(len(cells), -1, -1)
        found.append(torch.cat((center, sizes), dim=-1).reshape(-1, 4))
    return torch.cat(found)


def _predictions(surface: Surface, boxes: Tensor, scores: Tensor) -> Predictions:
    height, width = surface.size
    if "Softmax" not in surface.operators:
        scores = scores.softmax(dim=-1)
    return scored(boxes * boxes.new_tensor((width, height) * 2), scores[..., 1:])


def _decoding(surface: Surface, scores: str, decode: Decode) -> Decoding:
    classes = surface.outputs[scores][2] - 1
    if "Softmax" in surface.operators:
        return Decoding(classes=classes, decode=decode, scores={scores: (2, 1)})
    return Decoding(
        classes=classes,
        decode=decode,
        beside="scores become shares of all classes only where they are read",
    )


def _evident(surface: Surface) -> bool:
    pair = _pair(surface)
    return pair is not None and surface.outputs[pair[0]][1] >= _FEWEST


SSD = Decoder(
    name="ssd",
    outputs="boxes (1, priors, 4) and scores (1, priors, 1 + classes)",
    read=_finished,
    evident=_evident,
    preprocess="plain,scale=1,mean=127,std=128",
)

SSD_PRIORS = Decoder(
    name="ssd-priors",
    outputs="offsets (1, priors, 4), scores (1, priors, 1 + classes), priors (priors, 4)",
    read=_with_priors,
    evident=_evident,
    preprocess="plain,scale=1,mean=123,117,104",
)

RETINAFACE = Decoder(
    name="retinaface",
    outputs="offsets (1, priors, 4), scores (1, priors, 2), landmarks (1, priors, 10)",
    read=_faces,
    evident=lambda surface: len(surface.outputs) == 3,
    preprocess="plain,order=bgr,scale=1,mean=104,117,123",
)
