"""A tiny network that every engine runs, and what it gives."""

import torch

from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.engines.table import ENGINES
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny

SPEC = yolov3_tiny(classes=2, width=0.0625, size=(32, 64))


STATE = random_state(SPEC, 1, torch.float32)


MODEL = model(SPEC, STATE, title="tiny")


IMAGES = torch.rand(3, *SPEC.input_shape, generator=torch.Generator().manual_seed(1))


INSTALLED = [name for name, engine in ENGINES.items() if not engine.missing]


def agree(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], share: float) -> None:
    assert list(found) == list(expected)
    for name, theirs in found.items():
        ours = expected[name]
        assert theirs.dtype == torch.float32 and theirs.shape == ours.shape
        assert (theirs - ours).abs().max() <= share * ours.abs().max()


def maps(images: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        found = network_of(SPEC, STATE)(images)
    return {f"head_{head.index}": m for head, m in zip(SPEC.heads, found, strict=True)}
