"""`train` and `finetune` as a user types them."""

from pathlib import Path

import cv2
import numpy as np
import torch

from tests.cli.commands import refused, run
from tests.networks import network_of
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights

SETTINGS = ["--epochs", 1, "--batch-size", 4, "--workers", 0, "--quiet"]


def test_a_trained_pair_runs_in_opencv_and_gives_our_heads(folder: Path) -> None:
    cfg, weights = folder / "run" / "best.cfg", folder / "run" / "best.weights"
    spec = read_cfg(cfg)
    images = np.random.default_rng(0).random((1, 3, 64, 64)).astype(np.float32)
    opencv = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    opencv.setInput(images)
    theirs = opencv.forward([f"conv_{head.sources[0]}" for head in spec.heads])
    with torch.inference_mode():
        ours = network_of(spec, read_weights(weights, spec))(torch.from_numpy(images))
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a.numpy() - b).max() <= 1e-3 * np.abs(b).max()


def test_prune_then_finetune_with_and_without_teacher(folder: Path, tmp_path: Path) -> None:
    cfg, weights = folder / "run" / "best.cfg", folder / "run" / "best.weights"
    run("prune", cfg, weights, "--out", tmp_path / "slim", "--keep-macs", 0.5)
    for name, teacher in (("alone", []), ("taught", ["--teacher", cfg, weights])):
        result = run(
            "finetune", tmp_path / "slim", "--data", folder / "data", "--out", tmp_path / name,
            *SETTINGS, *teacher,
        )  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)
        assert "1 epoch, best mAP@0.5 (coco)" in result.stdout
        slim = read_cfg(tmp_path / "slim" / "slim.cfg")
        assert read_cfg(tmp_path / name / "best.cfg").digest() == slim.digest()
    moved = tmp_path / "moved.cfg"
    moved.write_text(cfg.read_text().replace("8,8,", "9,9,"))
    assert "teacher's heads differ" in refused(
        "finetune", tmp_path / "slim", "--data", folder / "data", "--out", tmp_path / "no",
        *SETTINGS, "--teacher", moved, weights,
    )  # fmt: skip
    pair = (tmp_path / "slim" / "slim.cfg", tmp_path / "slim" / "slim.weights")
    assert run(
        "finetune", *pair, "--data", folder / "data", "--out", tmp_path / "pair", *SETTINGS
    ).exit_code == 0  # fmt: skip
    alone, taught, as_pair = (
        (tmp_path / name / "last.weights").read_bytes() for name in ("alone", "taught", "pair")
    )
    assert alone == as_pair != taught


def test_a_finished_run_resumes_to_nothing_more(folder: Path) -> None:
    before = (folder / "run" / "last.weights").read_bytes()
    result = run("train", folder / "net.cfg", "--data", folder / "data", "--out", folder / "run",
                 *SETTINGS, "--resume")  # fmt: skip
    assert result.exit_code == 0
    assert (folder / "run" / "last.weights").read_bytes() == before


def test_weights_and_backbones_are_starting_points(folder: Path, tmp_path: Path) -> None:
    weights = folder / "run" / "best.weights"
    whole = weights.read_bytes()
    spec = read_cfg(folder / "net.cfg")
    first = read_weights(weights, spec)[0]
    (tmp_path / "first.conv.1").write_bytes(
        whole[: 20 + 4 * sum(tensor.numel() for _, tensor in first.items())]
    )
    for option, path in (("--weights", weights), ("--backbone", tmp_path / "first.conv.1")):
        result = run("train", folder / "net.cfg", "--data", folder / "data",
                     "--out", tmp_path / option, option, path, *SETTINGS)  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)


def test_other_classes_start_from_all_but_the_heads(folder: Path, tmp_path: Path) -> None:
    anchors = "8,8, 12,12, 16,16, 10,20, 20,10, 20,20"
    run("zoo", "yolov3-tiny", "--classes", 3, "--width", 0.125, "--size", 64,
        "--anchors", anchors, "--out", tmp_path / "three.cfg")  # fmt: skip
    run("init", tmp_path / "three.cfg", "--out", tmp_path / "three.weights")
    result = run("train", folder / "net.cfg", "--data", folder / "data", "--out", tmp_path / "run",
                 "--transfer", tmp_path / "three.cfg", tmp_path / "three.weights",
                 *SETTINGS[:-1], "--learning-rate", 1e-9)  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    assert "11 of 13 convolutions" in result.stderr
    theirs = read_cfg(tmp_path / "three.cfg")
    start = read_weights(tmp_path / "three.weights", theirs)
    trained = read_weights(tmp_path / "run" / "last.weights", read_cfg(folder / "net.cfg"))
    heads = {head.sources[0] for head in theirs.heads}
    for index, parameters in trained.items():
        if index not in heads:
            assert torch.allclose(parameters.kernel, start[index].kernel, atol=1e-6), index
    run("zoo", "yolov3", "--classes", 1, "--width", 0.125, "--out", tmp_path / "large.cfg")
    run("init", tmp_path / "large.cfg", "--out", tmp_path / "large.weights")
    assert "same architecture" in refused(
        "train", folder / "net.cfg", "--data", folder / "data", "--out", tmp_path / "x",
        "--transfer", tmp_path / "large.cfg", tmp_path / "large.weights",
    )  # fmt: skip


def test_bad_input_is_one_line(folder: Path, tmp_path: Path) -> None:
    cfg, data, out = folder / "net.cfg", folder / "data", tmp_path / "run"
    start = ["train", cfg, "--data", data, "--out", out]
    assert "fewer than one batch" in refused(*start, "--batch-size", 64)
    assert "optimizer must be" in refused(*start, "--optimizer", "lion")
    assert "protocol must be" in refused(*start, "--protocol", "voc")
    assert "no checkpoint" in refused(*start, *SETTINGS, "--resume")
    assert "only one of" in refused(*start, "--weights", cfg, "--backbone", cfg)
    assert "hold out" in refused(*start, "--hold-out", 1.5)
    assert "precision must be" in refused(*start, "--precision", "int8")
    assert "nowhere" in refused("train", cfg, "--data", "nowhere", "--out", out)
    assert not (out / "last.pt").exists()
    label = next((data / "labels" / "train").iterdir())
    text = label.read_text()
    label.write_text("7 0.5 0.5 0.1 0.1\n")
    assert f"{label}:1" in refused(*start, *SETTINGS)
    label.write_text(text)
