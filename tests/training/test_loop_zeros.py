"""Training a sparse network: its zeros stay exactly zero."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.painted import paint
from yoloprune.data.read import read_dataset
from yoloprune.errors import CheckpointError, PlanError
from yoloprune.frontends.darknet.document import layer_of, model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.weights.masks import MaskSettings, WeightMasks, magnitude_masks
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import InterruptedRunError, train

SPEC = yolov3_tiny(
    classes=1, width=0.125, size=(64, 64), anchors=((12, 12), (14, 18), (18, 14)) * 2
)
STATE = training_state(SPEC)
CONFIG = TrainingConfig(
    epochs=1, batch_size=4, image_size=64, workers=0, learning_rate=0.02, evaluate_every=9
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), train=12, test=2)


def masks(sparsity: float = 0.8) -> WeightMasks:
    settings = MaskSettings(sparsity=sparsity, exclude=("heads",))
    return magnitude_masks(lower(SPEC), parameters(STATE), settings)


def run(
    data: Path, out: Path, config: TrainingConfig = CONFIG, spec: NetworkSpec = SPEC, **more: Any
) -> None:
    """From the dense state: the masks are applied where they are held."""
    alone = World(rank=0, size=1, device=torch.device("cpu"))
    training = read_dataset(data, classes=1, split="train")
    network = model(spec, training_state(spec), title="network")
    train(network, training=training, validation=None, config=config, run=out, world=alone, **more)


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": "sgd"}, {"optimizer": "adamw"}, {"precision": "bfloat16", "image_size": 96}],
)
def test_zeros_stay_zero_in_the_network_its_average_and_the_optimizer(
    data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    held, config = masks(), replace(CONFIG, **settings)
    run(data, tmp_path, config, masks=held)
    trained = read_weights(tmp_path / "last.weights", SPEC)
    inputs = {"weight masks": held.digest()}
    document = torch.load(tmp_path / "last.pt", weights_only=True)
    assert inputs.items() <= document["inputs"].items()
    moved = 0
    for parameter, mask in held.kept.items():
        index = layer_of(parameter)
        kept = (document[part][parameter] for part in ("model", "average"))
        for kernel in (trained[index].kernel, *kept):
            assert (kernel[~mask] == 0).all()
        moved += int((trained[index].kernel[mask] != STATE[index].kernel[mask]).sum())
    assert moved > 0.9 * sum(int(mask.sum()) for mask in held.kept.values())
    first = document["optimizer"]["state"][0]
    momentum = first.get("momentum_buffer", first.get("exp_avg"))
    assert (momentum[~held.kept["layer_0.kernel"]] == 0).all()


def test_a_stopped_run_goes_on_with_its_masks_and_no_others(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(data, whole, masks=masks())
    with pytest.raises(InterruptedRunError):
        run(data, parts, masks=masks(), stop=lambda: True)
    for other in ({}, {"masks": masks(0.5)}):
        with pytest.raises(CheckpointError, match="another weight masks"):
            run(data, parts, resume=True, **other)
    run(data, parts, masks=masks(), resume=True)
    assert (parts / "last.weights").read_bytes() == (whole / "last.weights").read_bytes()


def test_a_dense_run_does_not_go_on_with_masks(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path)
    with pytest.raises(CheckpointError, match="another weight masks"):
        run(data, tmp_path, masks=masks(), resume=True)


def test_masks_of_another_network_are_refused(data: Path, tmp_path: Path) -> None:
    other = yolov3_tiny(classes=1, width=0.25, size=(64, 64))
    with pytest.raises(PlanError, match="another network"):
        run(data, tmp_path / "run", spec=other, masks=masks())
    assert not (tmp_path / "run").exists()
