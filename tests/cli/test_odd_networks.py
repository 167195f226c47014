"""Networks that are not square or not RGB, through every command, beside OpenCV's numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.cli.commands import refused, run
from tests.networks import network_of
from tests.odd_networks import SHAPES, odd_spec, opencv_rows
from tests.training.painted import paint
from tests.workflows.case_study.tiny import torch_alone
from yoloprune.data.images import read_image
from yoloprune.engines import benchmark
from yoloprune.frontends.darknet.parser import read_cfg, write_cfg
from yoloprune.frontends.darknet.weights import read_weights

TRAINING = ("--epochs", 1, "--batch-size", 4, "--workers", 0, "--quiet")


@dataclass(frozen=True)
class Trained:
    """A data set, and a network trained on it: to be read, not changed."""

    name: str
    data: Path
    run: Path

    @property
    def pair(self) -> tuple[Path, Path]:
        return self.run / "best.cfg", self.run / "best.weights"


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module", params=["gray", "oblong"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp(request.param)
    data = paint(root / "data", train=8, test=2, size=(60, 90))
    write_cfg(root / "net.cfg", odd_spec(request.param))
    done("train", root / "net.cfg", "--data", data, "--out", root / "run", *TRAINING)
    return Trained(request.param, data, root / "run")


def check_against_opencv(cfg: Path, weights: Path) -> None:
    """The pair's head maps, in OpenCV and here."""
    spec = read_cfg(cfg)
    images = np.random.default_rng(0).random((1, *spec.input_shape)).astype(np.float32)
    opencv = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    opencv.setInput(images)
    theirs = opencv.forward([f"conv_{head.sources[0]}" for head in spec.heads])
    with torch.inference_mode():
        ours = network_of(spec, read_weights(weights, spec))(torch.from_numpy(images))
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a.numpy() - b).max() <= 5e-3 * np.abs(b).max()


def test_training_keeps_the_shape_and_resumes(trained: Trained) -> None:
    assert read_cfg(trained.pair[0]).input_shape == SHAPES[trained.name]
    check_against_opencv(*trained.pair)
    _, height, width = SHAPES[trained.name]
    assert read_image(trained.run / "batch.jpg").shape == (height, 4 * width, 3)
    before = trained.pair[1].read_bytes()
    done("train", trained.run.parent / "net.cfg", "--data", trained.data, "--out", trained.run,
         *TRAINING, "--resume")  # fmt: skip
    assert trained.pair[1].read_bytes() == before


def test_it_is_judged_by_both_protocols_and_detects(trained: Trained, tmp_path: Path) -> None:
    report = json.loads(
        done("evaluate", *trained.pair, "--data", trained.data, "--protocol", "both", "--json")
    )
    assert [figures["protocol"] for figures in report["evaluations"]] == ["case-study", "coco"]
    photos = trained.data / "images" / "test"
    found = json.loads(
        done("detect", *trained.pair, photos, "--out", tmp_path, "--threshold", 0, "--json")
    )
    assert len(found["images"]) == 2
    for picture in found["images"]:
        rows = opencv_rows(*trained.pair, Path(picture["file"]))
        best = max(picture["detections"], key=lambda entry: float(entry["score"]))
        assert best["score"] == pytest.approx(rows[:, 5].max(), rel=1e-3)
        # On the photo in its colors.
        drawn = read_image(tmp_path / picture["annotated"])
        assert drawn.shape == (60, 90, 3)
        assert np.ptp(drawn, axis=2).max() > 100


def test_it_is_pruned_recovered_proven_and_trained_further(
    trained: Trained, tmp_path: Path
) -> None:
    photos, slim = trained.data / "images", tmp_path / "slim"
    line = done("prune", *trained.pair, "--keep-macs", 0.6, "--images", photos, "--out", slim)
    assert "slim = masked dense" in line
    done("reconstruct", *trained.pair, slim, "--images", photos, "--calibration-images", 4)
    assert "verified" in done("verify", *trained.pair, slim, "--images", photos)
    check_against_opencv(slim / "slim.cfg", slim / "slim.weights")
    done("finetune", slim, "--data", trained.data, "--out", tmp_path / "run", *TRAINING,
         "--teacher", *trained.pair)  # fmt: skip
    best = tmp_path / "run" / "best.cfg"
    assert read_cfg(best).digest() == read_cfg(slim / "slim.cfg").digest()
    check_against_opencv(best, best.with_suffix(".weights"))


def test_it_is_exported_and_timed(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, height, width = SHAPES[trained.name]
    line = done("export", *trained.pair, "--onnx", tmp_path / "net.onnx", "--decode")
    boxes = 3 * (height // 8) * (width // 8)
    assert f"images [batch, {channels}, {height}, {width}] -> boxes [batch, {boxes}, 4]" in line
    # That it runs in ONNX Runtime is what the export shows.
    monkeypatch.setattr(benchmark, "default_engines", torch_alone)
    timed = json.loads(done("benchmark", *trained.pair, *trained.pair, "--runs", 1, "--json"))
    assert [entry["engine"] for entry in timed["engines"]] == ["torch eager"]


@pytest.mark.parametrize("criterion", ["taylor", "activation", "reconstruction"])
def test_criteria_look_at_its_images(trained: Trained, criterion: str) -> None:
    found = json.loads(
        done("sweep", *trained.pair, "--data", trained.data, "--keep-macs", 0.7, "--split", "test",
             "--criterion", criterion, "--calibration-images", 4, "--json")
    )  # fmt: skip
    assert len(found["points"]) == 1


def test_it_is_pruned_in_steps_that_resume(trained: Trained, tmp_path: Path) -> None:
    command = ("iterate", *trained.pair, "--data", trained.data, "--out", tmp_path / "steps",
               "--keep-macs", 0.7, "--step", 0.3, "--reconstruct", "--epochs-per-step", 1,
               *TRAINING[2:])  # fmt: skip
    done(*command)
    assert read_cfg(tmp_path / "steps" / "best.cfg").input_shape == SHAPES[trained.name]
    files = [path for path in (tmp_path / "steps").rglob("*") if path.is_file()]
    step = {path: path.stat().st_mtime_ns for path in files if path.parent.name == "step-01"}
    done(*command, "--resume")
    # Nothing was trained or judged again.
    assert {path: path.stat().st_mtime_ns for path in step} == step


def test_the_size_can_be_chosen(trained: Trained, tmp_path: Path) -> None:
    start = ("train", trained.run.parent / "net.cfg", "--data", trained.data, *TRAINING)
    for asked, size in (("96x32", (32, 96)), ("32", (32, 32))):
        out = tmp_path / asked
        done(*start, "--out", out, "--image-size", asked)
        assert read_cfg(out / "best.cfg").input_shape == (SHAPES[trained.name][0], *size)
        written = json.loads((out / "config.json").read_text())["image_size"]
        assert written == (32 if asked == "32" else [32, 96])
    out = tmp_path / "none"
    for asked in ("", "x", "96x", "96x32x32", "-96", "9.5", "wide"):
        assert "width x height such as" in refused(*start, "--out", out, f"--image-size={asked}")
    for asked in ("16", "96x16", "0x96"):
        assert "less than 32 pixels" in refused(*start, "--out", out, "--image-size", asked)
    assert "multiple of 8" in refused(*start, "--out", out, "--image-size", "96x36")
    assert "of 32 with" in refused(*start, "--out", out, "--image-size", "96x40",
                                   "--multi-scale", 0.5)  # fmt: skip
    assert not out.exists()


@pytest.mark.parametrize("channels", [2, 4])
def test_images_for_any_other_number_of_channels_are_refused_before_anything_is_written(
    channels: int, trained: Trained, tmp_path: Path
) -> None:
    cfg, weights, slim = tmp_path / "net.cfg", tmp_path / "net.weights", tmp_path / "slim"
    text = trained.pair[0].read_text()
    cfg.write_text(text.replace(f"channels={SHAPES[trained.name][0]}", f"channels={channels}"))
    done("init", cfg, "--out", weights)
    done("prune", cfg, weights, "--keep-macs", 0.6, "--out", slim)
    data, out = ("--data", trained.data), ("--out", tmp_path / "out")
    photos = trained.data / "images"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for command in (
        ("train", cfg, *data, *out, *TRAINING),
        ("finetune", slim, *data, *out, *TRAINING),
        ("iterate", cfg, weights, *data, *out, "--keep-macs", 0.7, *TRAINING[2:]),
        ("evaluate", cfg, weights, *data),
        ("detect", cfg, weights, photos, *out),
        ("sweep", cfg, weights, *data, "--keep-macs", 0.7, *out),
        ("prune", cfg, weights, "--keep-macs", 0.6, "--images", photos, *out),
        ("prune", cfg, weights, "--keep-macs", 0.6, "--reconstruct", photos, *out),
        ("reconstruct", cfg, weights, slim, "--images", photos),
        ("verify", cfg, weights, slim, "--images", photos),
        ("case-study", "--dense", cfg, weights, *data, *out),
    ):
        assert f"reads {channels} channels, but images are read with" in refused(*command)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_teacher_that_reads_other_images_is_refused(trained: Trained, tmp_path: Path) -> None:
    done("prune", *trained.pair, "--keep-macs", 0.6, "--out", tmp_path / "slim")
    cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    channels = SHAPES[trained.name][0]
    text = trained.pair[0].read_text()
    cfg.write_text(text.replace(f"channels={channels}", f"channels={4 - channels}"))
    done("init", cfg, "--out", weights)
    assert f"teacher reads {4 - channels} channels, the student {channels}" in refused(
        "finetune", tmp_path / "slim", "--data", trained.data, "--out", tmp_path / "run", *TRAINING,
        "--teacher", cfg, weights,
    )  # fmt: skip
