"""Networks of every family, and what is found in their outputs."""

from collections.abc import Callable

import torch

from tests.detection.decoders import formats
from tests.detection.decoders.formats import SIZE, Object, Outputs
from yoloprune.detection.decode import Detections
from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.table import decoding
from yoloprune.detection.nms import select_detections

NAMES = ("a", "b", "c")


TRUTH: list[Object] = [(10, 6, 35, 50, 2, 0.9), (50, 20, 80, 44, 0, 0.6)]


FACES: list[Object] = [(*thing[:4], 0, thing[5]) for thing in TRUTH]


OF_ONE_CLASS = ("yunet", "retinaface")


OPERATORS = {
    "yolox": {"Exp"},
    "fastestdet": {"Softmax"},
    "rt-detr": {"GridSample", "TopK"},
    "rt-detr-logits": {"GridSample", "TopK"},
    "end-to-end": {"TopK"},
    "ssd": {"Softmax"},
    "retinaface": {"Softmax"},
}


def outputs_of(name: str, truth: list[Object]) -> Outputs:
    make: Callable[[list[Object]], Outputs] = getattr(formats, name.replace("-", "_"))
    return make(truth)


def surface_of(name: str, *, names: tuple[str, ...] | None = None) -> Surface:
    return Surface(
        size=SIZE,
        outputs={key: value.shape for key, value in outputs_of(name, []).items()},
        operators=frozenset({"Conv"} | OPERATORS.get(name, set())),
        metadata={"suppression": "{}"} if name == "yoloprune" else {},
        names=names,
    )


def truth_of(name: str) -> list[Object]:
    return FACES if name in OF_ONE_CLASS else TRUTH


def names_of(name: str) -> tuple[str, ...]:
    return ("face",) if name in OF_ONE_CLASS else NAMES


def found_in(name: str, outputs: Outputs) -> list[Detections]:
    surface = surface_of(name, names=names_of(name))
    tensors = {key: torch.from_numpy(value) for key, value in outputs.items()}
    return select_detections(decoding(surface, name)[1].decode(tensors), 0.2, 0.45)
