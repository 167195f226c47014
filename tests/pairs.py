"""A pair of Darknet files."""

from pathlib import Path

from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny

SPEC = yolov3_tiny(classes=2, width=0.125, size=(64, 64))


STATE = random_state(SPEC, seed=0)


def write_pair(folder: Path, name: str) -> Path:
    """NAME.cfg and NAME.weights in a folder; gives the first."""
    folder.mkdir(exist_ok=True)
    write_cfg(folder / f"{name}.cfg", SPEC)
    write_weights(folder / f"{name}.weights", SPEC, STATE)
    return folder / f"{name}.cfg"
