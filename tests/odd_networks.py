"""Networks that are not square or not RGB, and what OpenCV sees with them in a photo."""

from pathlib import Path

import cv2
import numpy as np

from yoloprune.frontends.darknet.parser import parse_cfg, read_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec

SHAPES = {"gray": (1, 64, 64), "oblong": (3, 64, 96), "gray, upright": (1, 96, 64)}
"""Channels, height and width of the input."""

CFG = """[net]
channels={channels}
height={height}
width={width}
[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=leaky
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=18
size=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,10, 14,18, 18,14
num=3
classes=1
thresh=0
"""


def odd_spec(name: str) -> NetworkSpec:
    """One of `SHAPES`; in [yolo], `thresh` is OpenCV's: it drops scores that are not above it."""
    channels, height, width = SHAPES[name]
    return parse_cfg(CFG.format(channels=channels, height=height, width=width))


def opencv_rows(cfg: Path, weights: Path, photo: Path) -> np.ndarray:
    """Rows [cx, cy, w, h, objectness, score of the class], relative to the photo, by OpenCV alone.

    Gray is read as darknet reads it for a network of one channel, by `imread`.
    """
    channels, height, width = read_cfg(cfg).input_shape
    image = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    network = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    network.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (width, height), swapRB=channels == 3))
    return np.asarray(network.forward())
