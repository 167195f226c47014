"""What stops a step, and what it leaves out."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import CONFIG, SPEC, run
from yoloprune.data.device_images import DeviceImages
from yoloprune.data.read import read_dataset
from yoloprune.errors import RunError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.training import step
from yoloprune.training.checkpoint import Checkpoint, load_checkpoint
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.loop import Loop
from yoloprune.training.step import capture, training_step

# Each layer more takes the compiler seconds.
CONV = "[convolutional]\nfilters={}\nsize=3\nstride=4\npad=1\nactivation={}\n"
SMALL = parse_cfg(
    "[net]\nwidth=64\nheight=64\nchannels=3\n"
    + CONV.format(8, "leaky\nbatch_normalize=1")
    + CONV.format(6, "linear")
    + "[yolo]\nmask=0\nanchors=14,14\nclasses=1\nnum=1\n"
)


def saved(path: Path, config: TrainingConfig) -> Checkpoint:
    """The checkpoint in a file, whatever it was made from."""
    network = model(SPEC, training_state(SPEC), title="network")
    return load_checkpoint(path, network, config, torch.load(path, weights_only=True)["inputs"])


def test_a_loss_that_is_not_finite_stops_and_says_where(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, calls = step._losses, []

    def breaking(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        return losses(*arguments) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(step, "_losses", breaking)
    config = replace(CONFIG, checkpoint_minutes=1e-9)
    with pytest.raises(RunError, match=r"not finite \(box nan, .* at epoch 1, step 3: start again"):
        run(data, tmp_path, config)
    # The checkpoint is that of the step before, and the run goes on from it.
    assert saved(tmp_path / "last.pt", config).position.step == 2
    monkeypatch.setattr(step, "_losses", losses)
    assert len(run(data, tmp_path, config, resume=True)) == 2


def test_a_gradient_that_is_not_finite_leaves_the_weights_and_the_checkpoint_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, calls = step._backward, []

    def breaking(loop: Any, *arguments: Any) -> torch.Tensor:
        terms = backward(loop, *arguments)
        calls.append(1)
        if len(calls) == 6:  # The last step of the first epoch.
            next(loop.network.parameters()).grad[0] = float("nan")
        return terms

    monkeypatch.setattr(step, "_backward", breaking)
    config = replace(CONFIG, checkpoint_minutes=1e-9)
    with pytest.raises(RunError, match="norm is nan at epoch 1, step 6"):
        run(data, tmp_path, config)
    kept = saved(tmp_path / "last.pt", config)
    for tensor in (*kept.model.values(), *kept.average.values()):
        assert tensor.isfinite().all()


def test_float16_leaves_out_a_step_whose_gradients_overflow(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrunk: list[bool] = []
    update = step._optimizer_step

    def counting(loop: Any) -> bool:
        changed = update(loop)
        shrunk.append(changed)
        return changed

    monkeypatch.setattr(step, "_optimizer_step", counting)
    monkeypatch.setattr(step, "shrink", lambda scales, amount: shrunk.append(True))
    # 2 ** 22 times the gradients overflow in float16, until the scale has come down.
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**22)
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    run(data, tmp_path, replace(CONFIG, precision="float16", sparsity=1e-3))
    left_out = shrunk.count(False)
    assert 0 < left_out < 12
    assert len(shrunk) == 2 * (12 - left_out) + left_out


# torch's compiler uses what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_kernels_give_the_same_curve(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, augment=False)
    plain = run(data, tmp_path / "plain", config, spec=SMALL)
    compiled = run(data, tmp_path / "compiled", replace(config, compiled=True), spec=SMALL)
    assert compiled[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_a_compiler(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config

    torch.compiler.reset()
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nowhere/g++",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"torch\.compile failed .*without `compiled`"):
        run(data, tmp_path / "run", replace(CONFIG, compiled=True), spec=SMALL)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_recorded_steps_train_as_steps_that_are_run(data: Path) -> None:
    found = []
    for recorded in (False, True):
        world = World(rank=0, size=1, device=torch.device("cuda"))
        loop = Loop(model(SPEC, training_state(SPEC), title="network"), CONFIG, world, 6, None, {})
        if recorded:
            capture(loop)
        images = DeviceImages(
            read_dataset(data, classes=1, split="train"), augment=True, mosaic=0.5, seed=0,
            channels=3, longest=64, device=world.device,
        )  # fmt: skip
        batches = images.batches(
            batch_size=8, parts=2, own_parts=range(2), epoch=0, first_step=0,
            base_size=(64, 64), multi_scale=0.5,
        )  # fmt: skip
        losses = [training_step(loop, [next(batches), next(batches)])() for _ in range(6)]
        weights = torch.cat([array.flatten() for array in loop.network.state().values()])
        found.append((torch.tensor(losses), weights))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-2, atol=1e-3)
