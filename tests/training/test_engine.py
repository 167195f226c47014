"""Runs: they learn, they resume bit for bit, they stop cleanly, they refuse what does not fit."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.odd_networks import SHAPES, odd_spec
from tests.processes import holding
from tests.reporters import Heard
from tests.training.painted import paint
from yoloprune.darknet.parser import parse_cfg, read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.data import workers
from yoloprune.data.read import read_dataset
from yoloprune.errors import CheckpointError, RunError, UsageError
from yoloprune.evaluation.evaluator import DEFAULT_PROTOCOL
from yoloprune.model.initialization import training_state
from yoloprune.model.network import Network
from yoloprune.training import engine, step
from yoloprune.training.checkpoint import Checkpoint, load_checkpoint
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import train
from yoloprune.training.rates import learning_rate, shrink_budget

SPEC = yolov3_tiny(
    classes=1, width=0.125, size=(64, 64), anchors=((12, 12), (14, 18), (18, 14)) * 2
)
ALONE = World(rank=0, size=1, device=torch.device("cpu"))
CONFIG = TrainingConfig(
    epochs=2, batch_size=8, image_size=64, workers=0, warmup=0.5, learning_rate=0.02
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), train=48, test=16)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("run") / "whole"
    run(data, out)
    return out


def same_end(run: Path, whole: Path) -> bool:
    """Whether a run ended as another one, bit for bit."""
    names = ("last.weights", "best.weights", "log.jsonl")
    return all((run / name).read_bytes() == (whole / name).read_bytes() for name in names)


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
    return train(spec, training_state(spec), config=config, run=out, **(everything | options))


def test_a_network_learns_to_see_rectangles(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=40, batch_size=4, augment=False, evaluate_every=40)
    log = run(data, tmp_path, config)
    assert log[-1]["loss"]["box"] < 0.5 * log[0]["loss"]["box"]
    assert log[-1]["map50"] > 0.5
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "batch.jpg", "best.cfg", "best.weights", "config.json", "curves.png", "environment.json",
        "last.cfg", "last.pt", "last.weights", "log.jsonl",
    }  # fmt: skip
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, 41))


def test_a_run_is_a_function_of_its_seed(data: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(data, tmp_path / name, replace(CONFIG, seed=seed))
    a, b, c = ((tmp_path / name / "last.weights").read_bytes() for name in "abc")
    assert a == b != c


def test_loader_processes_do_not_change_the_result(data: Path, tmp_path: Path) -> None:
    for count in (0, 2):
        run(data, tmp_path / str(count), replace(CONFIG, workers=count, epochs=1))
    first, second = ((tmp_path / n / "last.weights").read_bytes() for n in ("0", "2"))
    assert first == second


KILLED = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
torch.set_num_threads(1)
from dataclasses import replace
from tests.training.test_engine import CONFIG, run
run(Path(sys.argv[1]), Path(sys.argv[2]), replace(CONFIG, checkpoint_minutes=1e-9),
    resume=sys.argv[3] == "resume")
"""


def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bits(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    code = KILLED.format(tests=str(Path(__file__).parents[1]))
    out = tmp_path / "killed"
    command = [sys.executable, "-c", code, str(data), str(out)]
    mode = "start"
    for kills in range(1, 4):
        process = subprocess.Popen([*command, mode], stderr=subprocess.DEVNULL)
        checkpoint = out / "last.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        # Checkpoints come after every step: kill after the next one or two.
        while process.poll() is None:
            now = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            if now != before:
                time.sleep(0.05 * kills)
                process.kill()
            time.sleep(0.005)
        mode = "resume"
    subprocess.run([*command, mode], check=True, capture_output=True)
    assert same_end(out, whole)


def test_a_network_with_dropout_resumes_bit_for_bit(data: Path, tmp_path: Path) -> None:
    spec = parse_cfg(
        "[net]\nwidth=64\nheight=64\nchannels=3\n"
        "[convolutional]\nfilters=8\nsize=3\nstride=8\npad=1\nactivation=leaky\n"
        "[dropout]\nprobability=.5\n"
        "[convolutional]\nfilters=6\nsize=1\nactivation=linear\n"
        "[yolo]\nmask=0\nanchors=14,14\nclasses=1\nnum=1\n"
    )
    run(data, tmp_path / "whole", spec=spec)
    taken = []

    def stop() -> bool:
        taken.append(1)
        return len(taken) == 3

    with pytest.raises(engine.InterruptedRunError):
        run(data, tmp_path / "parts", spec=spec, stop=stop)
    run(data, tmp_path / "parts", spec=spec, resume=True)
    assert same_end(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("name", SHAPES)
def test_a_network_of_another_shape_resumes_bit_for_bit(
    name: str, data: Path, tmp_path: Path
) -> None:
    spec = odd_spec(name)
    config = replace(CONFIG, image_size=spec.input_shape[1:], multi_scale=0.5, epochs=1)
    log = run(data, tmp_path / "whole", config, spec)
    assert read_cfg(tmp_path / "whole" / "best.cfg").input_shape == spec.input_shape
    assert 0 < log[0]["loss"]["box"] < 20
    taken = []

    def stop() -> bool:
        taken.append(1)
        return len(taken) == 3

    with pytest.raises(engine.InterruptedRunError):
        run(data, tmp_path / "parts", config, spec, stop=stop)
    with pytest.raises(CheckpointError, match="belongs to another cfg"):
        run(data, tmp_path / "parts", replace(config, image_size=96), spec, resume=True)
    run(data, tmp_path / "parts", config, spec, resume=True)
    for file in ("last.weights", "log.jsonl"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_signals_stop_between_steps_and_keep_a_checkpoint(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for number in (signal.SIGINT, signal.SIGTERM):
        seen = []

        def interrupt(step: int, number: int = number, seen: Any = seen) -> None:
            seen.append(step)
            if len(seen) == 2:
                os.kill(os.getpid(), number)

        with pytest.raises(engine.InterruptedRunError) as caught:
            run(
                data,
                tmp_path / "run",
                replace(CONFIG, workers=1),
                reporter=Heard(on_item=interrupt),
                resume=number == signal.SIGTERM,
            )
        assert caught.value.signal == number
        assert len(seen) <= 3
        assert active_children() == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    run(data, tmp_path / "run", resume=True)
    assert same_end(tmp_path / "run", whole)


def test_a_run_whose_loader_is_killed_can_be_resumed(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    def kill(step: int) -> None:
        if step == 2:
            active_children()[0].kill()

    with pytest.raises(RunError, match=r"killed by SIGKILL.*; the run can be resumed") as caught:
        run(data, tmp_path / "run", replace(CONFIG, workers=1), reporter=Heard(on_item=kill))
    assert "\n" not in str(caught.value)
    run(data, tmp_path / "run", resume=True)
    assert same_end(tmp_path / "run", whole)


def test_without_loader_processes_a_run_goes_on_and_says_so_once(
    data: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(workers.socket, "socketpair", fail)
    heard = Heard()
    run(data, tmp_path / "run", replace(CONFIG, workers=2), reporter=heard)
    (told,) = heard.warnings
    assert "loader processes cannot be started" in told
    assert same_end(tmp_path / "run", whole)


def test_a_folder_with_a_running_run_is_refused(data: Path, tmp_path: Path) -> None:
    with (
        holding(tmp_path / "run"),
        pytest.raises(RunError, match="run: another process is working in this folder"),
    ):
        run(data, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_as_well_and_resumes_bit_for_bit(
    data: Path, tmp_path: Path, whole: Path, precision: Any
) -> None:
    singles = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    config = replace(CONFIG, precision=precision)
    log = run(data, tmp_path / "half", config)
    for single, half in zip(singles, log, strict=True):
        assert sum(half["loss"].values()) == pytest.approx(sum(single["loss"].values()), rel=0.05)

    def stop(line: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(data, tmp_path / "parts", config, reporter=Heard(on_line=stop))
    run(data, tmp_path / "parts", config, resume=True)
    assert same_end(tmp_path / "parts", tmp_path / "half")


# torch's compiler uses what torch itself has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_kernels_give_the_same_curve(data: Path, tmp_path: Path) -> None:
    # Each layer more takes the compiler seconds.
    conv = "[convolutional]\nfilters={}\nsize=3\nstride=4\npad=1\nactivation={}\n"
    spec = parse_cfg(
        "[net]\nwidth=64\nheight=64\nchannels=3\n"
        + conv.format(8, "leaky\nbatch_normalize=1")
        + conv.format(6, "linear")
        + "[yolo]\nmask=0\nanchors=14,14\nclasses=1\nnum=1\n"
    )
    config = replace(CONFIG, epochs=1, augment=False)
    plain = run(data, tmp_path / "plain", config, spec=spec)
    compiled = run(data, tmp_path / "compiled", replace(config, compiled=True), spec=spec)
    assert compiled[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_a_compiler(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.config

    torch.compiler.reset()
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nowhere/g++",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"torch\.compile failed .*without `compiled`"):
        run(data, tmp_path / "run", replace(CONFIG, compiled=True))


def saved(path: Path, config: TrainingConfig) -> Checkpoint:
    """The checkpoint in a file, whatever it was made from."""
    return load_checkpoint(path, SPEC, config, torch.load(path, weights_only=True)["inputs"])


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


def test_too_few_images_for_a_batch(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer than one batch"):
        run(data, tmp_path, replace(CONFIG, batch_size=64))


def test_a_checkpoint_that_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, replace(CONFIG, epochs=1))
    with pytest.raises(RunError, match="holds a run"):
        run(data, tmp_path, replace(CONFIG, epochs=1))
    with pytest.raises(CheckpointError, match=r"other settings \(learning_rate 0\.02, now 0\.5\)"):
        run(data, tmp_path, replace(CONFIG, epochs=1, learning_rate=0.5), resume=True)
    half = read_dataset(data, classes=1, split="train", limit=24)
    with pytest.raises(CheckpointError, match="another training set"):
        run(data, tmp_path, replace(CONFIG, epochs=1), resume=True, training=half)
    taught = Network.from_state(SPEC, training_state(SPEC))
    with pytest.raises(CheckpointError, match="another teacher"):
        run(data, tmp_path, replace(CONFIG, epochs=1), resume=True, teacher=taught)
    other = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
    with pytest.raises(CheckpointError, match="another cfg"):
        load_checkpoint(tmp_path / "last.pt", other, replace(CONFIG, epochs=1), {})
    data_bytes = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(data_bytes[: len(data_bytes) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        run(data, tmp_path, replace(CONFIG, epochs=1), resume=True)
    for damage in (b"hello", b"\x80\x02.", data_bytes[:5000] + b"!" + data_bytes[5001:]):
        (tmp_path / "last.pt").write_bytes(damage)
        with pytest.raises(CheckpointError, match="damaged"):
            run(data, tmp_path, replace(CONFIG, epochs=1), resume=True)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        run(data, tmp_path / "nowhere", resume=True)


def test_the_best_epoch_is_chosen_by_the_protocol_that_evaluate_has(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def evaluate(network: Network, dataset: Any, protocol: str) -> SimpleNamespace:
        asked.append(protocol)
        return SimpleNamespace(map50=0.5)

    monkeypatch.setattr(engine, "evaluate", evaluate)
    training = replace(read_dataset(data, classes=1, split="train"), names=("rectangle",))
    run(data, tmp_path / "default", replace(CONFIG, epochs=1), training=training)
    assert (tmp_path / "default" / "best.names").read_text() == "rectangle\n"
    run(data, tmp_path / "other", replace(CONFIG, epochs=1, protocol="case-study"))
    assert asked == [DEFAULT_PROTOCOL, "case-study"] == ["coco", "case-study"]
    assert json.loads((tmp_path / "other" / "config.json").read_text())["protocol"] == "case-study"


def test_a_run_from_before_there_was_a_protocol_goes_on_by_the_one_it_had(
    data: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, epochs=1, protocol="case-study")
    run(data, tmp_path, config)
    document = torch.load(tmp_path / "last.pt", weights_only=True)
    del document["config"]["protocol"]
    torch.save(document, tmp_path / "last.pt")
    assert len(run(data, tmp_path, config, resume=True)) == 1
    with pytest.raises(CheckpointError, match=r"other settings \(protocol case-study, now coco\)"):
        run(data, tmp_path, replace(config, protocol="coco"), resume=True)


def test_sparsity_makes_exact_zeros_and_a_hopeless_setting_warns(
    data: Path, tmp_path: Path
) -> None:
    heard = Heard()
    warnings = heard.warnings
    config = replace(CONFIG, epochs=4, evaluate_every=4)
    run(data, tmp_path / "weak", replace(config, sparsity=1e-6), reporter=heard)
    assert len(warnings) == 1 and "hardly any will become 0" in warnings[0]
    advice = float(warnings[0].rsplit("try ", 1)[1])
    log = run(data, tmp_path / "strong", replace(config, sparsity=1.2 * advice),
              reporter=heard)  # fmt: skip
    assert len(warnings) == 1
    short = replace(config, epochs=1, sparsity=40 * advice)
    run(data, tmp_path / "excessive", short, reporter=heard)
    assert len(warnings) == 2 and "nearly all will become 0" in warnings[1]
    assert log[-1]["zero_channels"] > 0.1
    state = read_weights(
        tmp_path / "strong" / "last.weights", read_cfg(tmp_path / "strong" / "last.cfg")
    )
    assert any((p.scale == 0).any() for p in state.values() if p.scale is not None)


def test_the_shrink_budget_counts_every_step() -> None:
    config = TrainingConfig(epochs=2, batch_size=8, warmup=0, final_rate=1.0, learning_rate=0.01,
                            momentum=0.9, sparsity=0.5)  # fmt: skip
    assert shrink_budget(config, 10) == pytest.approx(20 * 0.01 * 0.5 / 0.1)
    # What Adam makes of a gradient does not add up with its momentum.
    assert shrink_budget(replace(config, optimizer="adamw"), 10) == pytest.approx(20 * 0.01 * 0.5)
    decaying = replace(config, sparsity_schedule="decay")
    assert shrink_budget(decaying, 10) == pytest.approx(20 * 0.01 * 0.5 / 0.1 * 10.5 / 20)


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = TrainingConfig(epochs=10, warmup=1, learning_rate=0.1, final_rate=0.1)
    rates = [learning_rate(config, step, 10) for step in range(100)]
    assert rates[0] < rates[5] < rates[10] == max(rates) == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.01, rel=0.05)
    # A warm-up longer than the run would be all of it.
    short = [learning_rate(replace(config, epochs=1, warmup=2), step, 10) for step in range(10)]
    assert max(short) == pytest.approx(0.1) and short[-1] < 0.02


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"image_size": 100}, {"image_size": (64, 100)}, {"image_size": (0, 64)},
     {"image_size": (40, 64), "multi_scale": 0.5}, {"batch_size": 7, "accumulate": 2},
     {"optimizer": "lion"},
     {"sparsity": -1.0}, {"learning_rate": float("nan")}, {"precision": "int8"},
     {"protocol": "voc"}, {"sparsity": float("nan")}, {"weight_decay": float("inf")},
     {"seed": 2**64}],
)  # fmt: skip
def test_senseless_settings_cannot_be_made(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"training settings: {next(iter(options))} must be"):
        TrainingConfig(**options)


def test_a_setting_is_refused_with_what_it_may_be_and_what_it_is() -> None:
    with pytest.raises(UsageError) as caught:
        TrainingConfig(learning_rate=1e20)
    problem = "learning_rate must be more than 0 and less than 10, not 1e+20"
    assert str(caught.value) == f"training settings: {problem}"
    with pytest.raises(UsageError, match="optimizer must be sgd or adamw, not 'lion'"):
        TrainingConfig(optimizer="lion")  # type: ignore[arg-type]
