"""Short runs on painted rectangles, for the tests of training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from yoloprune.data.read import read_dataset
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import train

SPEC = yolov3_tiny(
    classes=1, width=0.125, size=(64, 64), anchors=((12, 12), (14, 18), (18, 14)) * 2
)
ALONE = World(rank=0, size=1, device=torch.device("cpu"))
CONFIG = TrainingConfig(
    epochs=2, batch_size=8, image_size=64, workers=0, warmup=0.5, learning_rate=0.02
)


def run(
    data: Path,
    out: Path,
    config: TrainingConfig = CONFIG,
    spec: NetworkSpec = SPEC,
    **options: Any,
) -> list[Any]:
    everything: dict[str, Any] = {
        "training": read_dataset(data, classes=1, split="train"),
        "validation": read_dataset(data, classes=1, split="test"),
        "world": ALONE,
    }
    network = model(spec, training_state(spec), title="network")
    return train(network, config=config, run=out, **(everything | options))


def same_end(run: Path, whole: Path) -> bool:
    """Whether a run ended as another one, bit for bit."""
    names = ("last.weights", "best.weights", "log.jsonl")
    return all((run / name).read_bytes() == (whole / name).read_bytes() for name in names)


def trained(data: Path, out: Path, here: World) -> list[dict[str, Any]]:
    """Train from scales of 0 to 1, so that sparsity kills some channels, but not all."""
    state = {
        index: replace(p, scale=None if p.scale is None else torch.linspace(0, 1, len(p.scale)))
        for index, p in training_state(SPEC).items()
    }
    return train(
        model(SPEC, state, title="network"),
        training=read_dataset(data, classes=1, split="train"),
        validation=read_dataset(data, classes=1, split="test"),
        config=replace(CONFIG, accumulate=2, sparsity=0.1, evaluate_every=2),
        run=out,
        world=here,
    )
