"""A network that detects painted cells, so that every number can be worked out by hand.

It looks at the top left pixel of each 8 x 8 cell of its input: red makes an object of exactly that
cell, with green or blue as its class (0 or 1). 255 is certain, 0 and gray are nothing. With one
channel it looks at the brightness, and everything is of class 0.
"""

from pathlib import Path

import numpy as np
import torch

from yoloprune.data.images import write_image
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters

CELL = 8
GREEN_OBJECT = (255, 255, 0)
BLUE_OBJECT = (255, 0, 255)
FAINT_GREEN_OBJECT = (200, 255, 0)
BRIGHT_OBJECT = (255, 255, 150)

CFG = """[net]
height=32
width=32
channels={channels}
{option}
[convolutional]
filters=7
size=1
stride=8
activation=linear
[yolo]
anchors=8,8
mask=0
num=1
classes=2
"""


def color_spec(option: str = "", channels: int = 3) -> NetworkSpec:
    return parse_cfg(CFG.format(option=option, channels=channels))


def color_state(channels: int = 3) -> dict[int, ConvParameters]:
    # x, y, w, h stay 0: the middle of the cell, and the size of the anchor, which is the cell's.
    kernel = torch.zeros(7, channels, 1, 1)
    bias = torch.full((7,), -30.0)
    bias[:4] = 0
    for entry in range(3):
        kernel[4 + entry, min(entry, channels - 1)] = 40
    if channels == 1:
        bias[6] = -90
    return {0: ConvParameters(kernel=kernel, bias=bias)}


def paint(
    path: Path,
    size: tuple[int, int],
    cells: dict[tuple[int, int], tuple[int, int, int]],
    cell: int = CELL,
) -> None:
    """Write a black image of (height, width) with some (row, column) cells painted."""
    image = np.zeros((*size, 3), np.uint8)
    for (row, column), color in cells.items():
        image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)


def write_labels(
    path: Path, size: tuple[int, int], objects: list[tuple[int, int, int]], cell: int = CELL
) -> None:
    """Write (row, column, class) of cells as a label file of an image of (height, width)."""
    height, width = size
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{label} {(column + 0.5) * cell / width} {(row + 0.5) * cell / height} "
        f"{cell / width} {cell / height}\n"
        for row, column, label in objects
    ]
    path.write_text("".join(lines))
