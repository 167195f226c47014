"""Runs: they learn, they resume bit for bit, they stop cleanly, they refuse what does not fit."""

import errno
import json
import os
import signal
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
from tests.processes import begun, ended, holding
from tests.reporters import Heard
from tests.training.runs import CONFIG, SPEC, run, same_end
from yoloprune.data import workers
from yoloprune.data.device_images import DeviceImages
from yoloprune.data.read import read_dataset
from yoloprune.errors import CheckpointError, DatasetError, RunError, UsageError
from yoloprune.evaluation.detector import Detector
from yoloprune.evaluation.protocols import DEFAULT_PROTOCOL
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import parse_cfg, read_cfg
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.training import engine
from yoloprune.training.checkpoint import load_checkpoint
from yoloprune.training.engine import InterruptedRunError


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped."""
    out = tmp_path_factory.mktemp("run") / "whole"
    run(data, out)
    return out


def test_a_network_learns_to_see_rectangles(data: Path, tmp_path: Path) -> None:
    # Seeds differ much after so short a run: mAP 0.45 to 0.67 among three of them.
    config = replace(CONFIG, epochs=40, batch_size=4, augment=False, evaluate_every=40, seed=2)
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
        run(data, tmp_path / name, replace(CONFIG, seed=seed, epochs=1))
    a, b, c = ((tmp_path / name / "last.weights").read_bytes() for name in "abc")
    assert a == b != c


def test_loader_processes_do_not_change_the_result(data: Path, tmp_path: Path) -> None:
    for count in (0, 2):
        run(data, tmp_path / str(count), replace(CONFIG, workers=count, epochs=1))
    first, second = ((tmp_path / n / "last.weights").read_bytes() for n in ("0", "2"))
    assert first == second


def killable(data: Path, out: Path, *, resume: bool) -> None:
    torch.set_num_threads(1)
    run(data, out, replace(CONFIG, checkpoint_minutes=1e-9), resume=resume)


def test_killed_at_any_moment_and_resumed_it_ends_with_the_same_bits(
    data: Path, tmp_path: Path, whole: Path
) -> None:
    out = tmp_path / "killed"
    for kills in range(1, 4):
        process = begun(partial(killable, resume=kills > 1), data, out)
        checkpoint = out / "last.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        # Checkpoints come after every step: kill after the next one or two.
        while process.is_alive():
            now = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            if now != before:
                time.sleep(0.05 * kills)
                process.kill()
            time.sleep(0.005)
        process.join()
    assert ended(begun(partial(killable, resume=True), data, out)) == 0
    assert same_end(out, whole)


def test_images_on_a_device_and_a_step_ahead_change_nothing_in_how_a_run_resumes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STEPS_AHEAD", {"cpu": 1})
    monkeypatch.setattr(
        engine,
        "_images",
        lambda loop, training, reporter: DeviceImages(
            training, augment=True, mosaic=0.5, seed=loop.config.seed, channels=3, longest=64,
            device=torch.device("cpu"),
        ),
    )  # fmt: skip
    run(data, tmp_path / "whole")
    for stopped_at in (1, 4, 6, 9):
        asked = iter(range(20))
        folder = tmp_path / f"at {stopped_at}"
        with pytest.raises(InterruptedRunError):
            run(data, folder, stop=lambda asked=asked, at=stopped_at: next(asked) == at)
        run(data, folder, resume=True)
        assert same_end(folder, tmp_path / "whole")


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


def test_too_few_images_for_a_batch(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer than one batch"):
        run(data, tmp_path, replace(CONFIG, batch_size=64))


@pytest.mark.parametrize("part", ["training", "validation"])
def test_images_without_objects_are_refused_before_the_first_step(
    part: str, data: Path, tmp_path: Path
) -> None:
    found = read_dataset(data, classes=1, split="train")
    bare = tuple(
        replace(image, boxes=image.boxes[:0], labels=image.labels[:0]) for image in found.images
    )
    with pytest.raises(DatasetError, match=f"none of the 48 {part} images has an object"):
        run(data, tmp_path / "run", **{part: replace(found, images=bare)})
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_does_not_fit_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, replace(CONFIG, epochs=1))
    with pytest.raises(RunError, match="holds a run"):
        run(data, tmp_path, replace(CONFIG, epochs=1))
    with pytest.raises(CheckpointError, match=r"other settings \(learning_rate 0\.02, now 0\.5\)"):
        run(data, tmp_path, replace(CONFIG, epochs=1, learning_rate=0.5), resume=True)
    half = read_dataset(data, classes=1, split="train", limit=24)
    with pytest.raises(CheckpointError, match="another training set"):
        run(data, tmp_path, replace(CONFIG, epochs=1), resume=True, training=half)
    taught = model(SPEC, training_state(SPEC), title="teacher")
    with pytest.raises(CheckpointError, match="another teacher"):
        run(data, tmp_path, replace(CONFIG, epochs=1), resume=True, teacher=taught)
    wider = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
    other = model(wider, training_state(wider), title="wider")
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

    def evaluate(detector: Detector, dataset: Any, protocol: str) -> SimpleNamespace:
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
