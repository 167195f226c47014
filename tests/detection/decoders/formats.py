"""Outputs in the formats of several families, made of boxes: the inverse of what decoders do.

Written in NumPy from the families' own formulas. `truth` is a list of (left, top, right, bottom in
pixels, class, score); all that is not there has scores of nearly 0.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

Object: TypeAlias = tuple[float, float, float, float, int, float]
Outputs: TypeAlias = dict[str, np.ndarray]

SIZE = 64, 96
"""Height and width of the inputs."""

EXTENT = np.array([SIZE[1], SIZE[0]] * 2)

CLASSES = 3
STRIDES = 8, 16, 32


def cells(stride: int) -> list[tuple[int, int]]:
    """(row, column) of the cells of a head, row by row."""
    return [(r, c) for r in range(SIZE[0] // stride) for c in range(SIZE[1] // stride)]


ALL_CELLS = [(stride, row, column) for stride in STRIDES for row, column in cells(stride)]


def centered(thing: Object) -> np.ndarray:
    left, top, right, bottom, *_ = thing
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


def owner(thing: Object) -> int:
    """The cell, of stride 16, that holds an object's center."""
    x, y, _, _ = centered(thing)
    return ALL_CELLS.index((16, int(y // 16), int(x // 16)))


def yolov5(truth: Sequence[Object]) -> Outputs:
    """Three boxes a cell; score = objectness * class."""
    rows = np.zeros((1, 3 * len(ALL_CELLS), 5 + CLASSES), np.float32)
    rows[..., :4] = 5
    for thing in truth:
        row = rows[0, 3 * owner(thing) + 1]
        row[:4], row[4], row[5 + thing[4]] = centered(thing), thing[5] ** 0.5, thing[5] ** 0.5
    return {"output0": rows}


def yolov8(truth: Sequence[Object]) -> Outputs:
    """Boxes along the last axis, no objectness."""
    columns = np.zeros((1, 4 + CLASSES, len(ALL_CELLS)), np.float32)
    for thing in truth:
        columns[0, :4, owner(thing)] = centered(thing)
        columns[0, 4 + thing[4], owner(thing)] = thing[5]
    return {"output0": columns}


def end_to_end(truth: Sequence[Object]) -> Outputs:
    """Corners, score, class."""
    rows = np.zeros((1, 300, 6), np.float32)
    for number, (*box, label, score) in enumerate(truth):
        rows[0, number] = [*box, score, label]
    return {"output0": rows}


def yolox(truth: Sequence[Object]) -> Outputs:
    """As YOLOv5, one box a cell."""
    rows = np.zeros((1, len(ALL_CELLS), 5 + CLASSES), np.float32)
    for thing in truth:
        row = rows[0, owner(thing)]
        row[:4], row[4], row[5 + thing[4]] = centered(thing), thing[5] ** 0.5, thing[5] ** 0.5
    return {"output": rows}


def yolox_raw(truth: Sequence[Object]) -> Outputs:
    """(xy / stride - cell, log(wh / stride)): what YOLOX's `decode_outputs` undoes."""
    (rows,) = yolox(truth).values()
    for thing in truth:
        row, (stride, y, x) = rows[0, owner(thing)], ALL_CELLS[owner(thing)]
        row[:2] = row[:2] / stride - (x, y)
        row[2:4] = np.log(row[2:4] / stride)
    return {"output": rows}


def fastestdet(truth: Sequence[Object]) -> Outputs:
    """Center tanh(t) cells away from the cell, size sigmoid(t); score = obj^0.6 * class^0.4."""
    height, width = SIZE[0] // 16, SIZE[1] // 16
    maps = np.full((1, 5 + CLASSES, height, width), 1e-6, np.float32)
    for thing in truth:
        x, y, w, h = centered(thing)
        column, row = int(x // 16), int(y // 16)
        cell = maps[0, :, row, column]
        cell[1:3] = np.arctanh([x / 16 - column, y / 16 - row])
        share = np.array([w / SIZE[1], h / SIZE[0]])
        cell[3:5] = np.log(share / (1 - share))
        cell[0] = cell[5 + thing[4]] = thing[5]
    return {"758": maps}


def yunet(truth: Sequence[Object]) -> Outputs:
    """(xy / stride - cell, log(wh / stride)); score = sqrt(cls * obj), here of different ones."""
    found = {}
    for stride in STRIDES:
        count = len(cells(stride))
        for kind, entries in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            found[f"{kind}_{stride}"] = np.zeros((1, count, entries), np.float32)
    for thing in truth:
        x, y, w, h = centered(thing)
        place = cells(16).index((int(y // 16), int(x // 16)))
        found["cls_16"][0, place, 0] = 1.5
        found["obj_16"][0, place, 0] = thing[5] ** 2
        found["bbox_16"][0, place] = [x / 16 - x // 16, y / 16 - y // 16, *np.log([w / 16, h / 16])]
    return found


def rt_detr(truth: Sequence[Object]) -> Outputs:
    """Center and size as fractions of the input, scores."""
    rows = np.zeros((1, 300, 4 + CLASSES), np.float32)
    for number, thing in enumerate(truth):
        rows[0, number, :4] = centered(thing) / EXTENT
        rows[0, number, 4 + thing[4]] = thing[5]
    return {"output0": rows}


def rt_detr_logits(truth: Sequence[Object]) -> Outputs:
    """The same in two outputs, scores before the logistic function."""
    (rows,) = rt_detr(truth).values()
    with np.errstate(divide="ignore"):
        logits = np.log(rows[..., 4:] / (1 - rows[..., 4:])).clip(-20, 20)
    return {"logits": logits, "pred_boxes": rows[..., :4]}


def ssd(truth: Sequence[Object]) -> Outputs:
    """Corners as fractions of the input; probabilities, the background's first."""
    priors = 600
    scores, boxes = np.zeros((1, priors, 1 + CLASSES)), np.zeros((1, priors, 4))
    scores[..., 0] = 1
    for number, (left, top, right, bottom, label, score) in enumerate(truth):
        boxes[0, number] = np.array([left, top, right, bottom]) / EXTENT
        scores[0, number, 0], scores[0, number, 1 + label] = 1 - score, score
    return {"scores": scores.astype(np.float32), "boxes": boxes.astype(np.float32)}


def offsets_from(priors: np.ndarray, truth: Mapping[int, Object]) -> np.ndarray:
    """What SSD learns: ((xy - prior) / prior's size / 0.1, log(wh / prior's size) / 0.2)."""
    found = np.zeros((1, len(priors), 4), np.float32)
    for number, thing in truth.items():
        box = centered(thing) / EXTENT
        center, size = priors[number, :2], priors[number, 2:]
        found[0, number, :2] = (box[:2] - center) / size / 0.1
        found[0, number, 2:] = np.log(box[2:] / size) / 0.2
    return found


def ssd_priors(truth: Sequence[Object]) -> Outputs:
    """Offsets, logits before the soft-max, and the priors."""
    priors = np.random.default_rng(0).uniform(0.1, 0.9, (600, 4)).astype(np.float32)
    with np.errstate(divide="ignore"):
        logits = np.log(ssd(truth)["scores"]).clip(-20)
    return {"loc": offsets_from(priors, dict(enumerate(truth))), "conf": logits, "priors": priors}


def retinaface(truth: Sequence[Object]) -> Outputs:
    """Offsets from two priors a cell: of 16 and 32 pixels, 64 and 128, 256 and 512."""
    sides = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
    priors = np.array(
        [
            [(x + 0.5) * s / SIZE[1], (y + 0.5) * s / SIZE[0], side / SIZE[1], side / SIZE[0]]
            for s, y, x in ALL_CELLS
            for side in sides[s]
        ]
    )
    own = {2 * owner(thing): thing for thing in truth}
    scores = np.zeros((1, len(priors), 2), np.float32)
    for number, thing in own.items():
        scores[0, number] = 1 - thing[5], thing[5]
    return {
        "bbox": offsets_from(priors, own),
        "confidence": scores,
        "landmark": np.zeros((1, len(priors), 10), np.float32),
    }


def yoloprune(truth: Sequence[Object]) -> Outputs:
    """Corners in pixels, scores."""
    boxes, scores = np.zeros((1, 50, 4), np.float32), np.zeros((1, 50, CLASSES), np.float32)
    for number, (*box, label, score) in enumerate(truth):
        boxes[0, number], scores[0, number, label] = box, score
    return {"boxes": boxes, "scores": scores}
