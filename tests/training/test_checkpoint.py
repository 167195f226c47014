"""A checkpoint that was written is taken back whole; anything else is refused in one line."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import bombs
from tests.random_networks import random_state
from yoloprune.errors import CheckpointError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.loop import Loop
from yoloprune.training.run_folder import CHECKPOINT

SPEC = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))
LINE = {
    "epoch": 1, "learning_rate": 0.01, "zero_channels": 0.0, "map50": None,
    "loss": {"box": 1.0, "objectness": 1.0, "classes": 0.0, "distillation": 0.0},
}  # fmt: skip


def new_loop(optimizer: Any = "sgd") -> Loop:
    config = TrainingConfig(epochs=3, batch_size=4, image_size=32, optimizer=optimizer)
    here = World(rank=0, size=1, device=torch.device("cpu"))
    network = model(SPEC, random_state(SPEC, 0, torch.float32), title="network")
    return Loop(network, config, here, 5, None, {"set": "a"})


def trained(optimizer: Any) -> Loop:
    """A loop after a step, whatever it was towards."""
    loop = new_loop(optimizer)
    for parameter in loop.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    loop.optimizer.step()
    loop.log, loop.best, loop.steps = [LINE], 0.5, 6
    loop.position = type(loop.position)(epoch=1, step=1, sums=(1.0, 2.0, 3.0, 4.0))
    return loop


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trained("sgd").save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_was_written_is_taken_back(optimizer: str, tmp_path: Path) -> None:
    before, after = trained(optimizer), new_loop(optimizer)
    before.save(tmp_path)
    after.restore(tmp_path)
    assert (after.position, after.steps, after.log, after.best) == (
        before.position, before.steps, before.log, before.best
    )  # fmt: skip
    for part in ("network", "average"):
        mine, theirs = (getattr(loop, part).state_dict() for loop in (before, after))
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    mine, theirs = (loop.optimizer.state_dict()["state"] for loop in (before, after))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[i][n], theirs[i][n]) for i in mine for n in mine[i])


def nested(levels: int) -> list[Any]:
    """A list of 10 ** levels parts that takes no room, for they are the same."""
    part: list[Any] = []
    for _ in range(levels):
        part = [part] * 10
    return part


def first(document: dict[str, Any], key: str) -> str:
    return next(iter(document[key]))


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "version must be 4": lambda d: d.update(version=3),
    "spec_digest is missing": lambda d: d.pop("spec_digest"),
    "belongs to another cfg": lambda d: d.update(spec_digest="0"),
    "config must be an object": lambda d: d.update(config=[]),
    "epochs": lambda d: d["config"].pop("epochs"),
    "config.epochs holds something else": lambda d: d["config"].update(epochs=[torch.zeros(3)]),
    "config.epochs holds": lambda d: d["config"].update(epochs=torch.zeros(3)),
    "has more than": lambda d: d["config"].update(epochs=nested(20)),
    "another set": lambda d: d["inputs"].clear(),
    "inputs.set must be text": lambda d: d["inputs"].update(set=1),
    "epoch must be a whole number": lambda d: d.update(epoch="1"),
    "step must be a whole number": lambda d: d.update(step=1.5),
    "steps must be a whole number": lambda d: d.update(steps=None),
    "contradict each other": lambda d: d.update(epoch=2),
    "epoch, step and log": lambda d: d.update(step=6),
    "sums must have 4 entries": lambda d: d.update(sums=[1.0]),
    "best must be a number": lambda d: d.update(best=torch.zeros(3)),
    "model must be an object": lambda d: d.update(model=[]),
    "model is of another network": lambda d: d["model"].pop(first(d, "model")),
    "average is of another network": lambda d: d["average"].update(more=torch.zeros(3)),
    r"model\..* must be torch.float32": lambda d: d["model"].update(
        {first(d, "model"): torch.zeros(3)}
    ),
    r"average\..* must be torch.float32": lambda d: d["average"].update(
        {first(d, "average"): d["average"][first(d, "average")].double()}
    ),
    r"of \[1, 3, 3, 3\]": lambda d: d["model"].update(
        {first(d, "model"): torch.zeros(1, 3, 3, 3).to_sparse()}
    ),
    r"optimizer.99 is of another": lambda d: d["optimizer"]["state"].update({99: {}}),
    "a key of optimizer.state": lambda d: d["optimizer"]["state"].update(a={}),
    "optimizer.0 is of another": lambda d: d["optimizer"]["state"].update(
        {0: {"a": torch.ones(1)}}
    ),
    "optimizer.0.momentum_buffer must be": lambda d: d["optimizer"]["state"][0].update(
        momentum_buffer=torch.ones(1)
    ),
    "optimizer must be an object": lambda d: d.update(optimizer=None),
    "scaler must be an object": lambda d: d.update(scaler=7),
    "log must be a list": lambda d: d.update(log={}),
    "0.loss.box is missing": lambda d: d.update(log=[LINE | {"loss": {}}]),
    "0.map50 must be a number": lambda d: d.update(log=[LINE | {"map50": "high"}]),
    "random must be a Tensor, but is a list": lambda d: d.update(random=[1]),
    "random must be torch.uint8": lambda d: d.update(random=torch.zeros(3)),
    "damaged: Invalid mt19937 state": lambda d: d.update(random=torch.zeros_like(d["random"])),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_part_that_is_not_what_it_was_is_named(message: str, run: Path) -> None:
    path = run / CHECKPOINT
    document = torch.load(path, weights_only=True)
    DAMAGES[message](document)
    torch.save(document, path)
    with pytest.raises(CheckpointError, match=message) as caught:
        new_loop().restore(run)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 1000


@pytest.mark.parametrize("document", [None, [], 7, "x", {}, torch.zeros(3)])
def test_something_else_is_refused(document: object, run: Path) -> None:
    torch.save(document, run / CHECKPOINT)
    with pytest.raises(CheckpointError, match="damaged, or of another version"):
        new_loop().restore(run)


def test_a_packed_file_is_not_unpacked(run: Path) -> None:
    with zipfile.ZipFile(run / CHECKPOINT) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    largest = next(name for name in parts if name.endswith("data/0"))
    with zipfile.ZipFile(run / CHECKPOINT, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in parts.items():
            if name != largest:
                bomb.writestr(name, content)
        with bomb.open(largest, "w") as part:
            for _ in range(64):
                part.write(bytes(1 << 20))
    with bombs.at_most(20), pytest.raises(CheckpointError, match="damaged checkpoint"):
        new_loop().restore(run)


def test_a_file_larger_than_its_network_is_not_read(run: Path) -> None:
    with (run / CHECKPOINT).open("ab") as file:
        file.truncate(1 << 30)
    with bombs.at_most(20), pytest.raises(CheckpointError, match="damaged checkpoint"):
        new_loop().restore(run)


def test_cut_files_are_refused(run: Path) -> None:
    whole = (run / CHECKPOINT).read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (run / CHECKPOINT).write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged checkpoint"):
            new_loop().restore(run)


def test_nothing_in_the_file_is_executed(run: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("executed",))

    buffer = io.BytesIO()
    torch.save({"version": Evil()}, buffer)
    (run / CHECKPOINT).write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        new_loop().restore(run)
