"""ONNX files of the commands: one kind everywhere, raw or decoded, which `verify` checks."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.cli.commands import refused, run
from yoloprune.data.images import write_image

if TYPE_CHECKING:
    from cli.conftest import Pair

BOXES = ["boxes", "scores"]
MAPS = ["head_16", "head_23"]
HEADLESS = "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=16\nactivation=leaky\n"


def outputs(path: Path) -> list[str]:
    return [output.name for output in onnxruntime.InferenceSession(str(path)).get_outputs()]


@pytest.mark.parametrize(("option", "names"), [(None, BOXES), ("--raw", MAPS)])
def test_prune_and_export_write_the_same_kind_and_verify_checks_it(
    pair: "Pair", tmp_path: Path, option: str | None, names: list[str]
) -> None:
    options = [] if option is None else [option]
    out = tmp_path / "slim"
    pruning = run("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5, "--onnx",
                  *options)  # fmt: skip
    assert pruning.exit_code == 0, pruning.output
    assert outputs(out / "slim.onnx") == names
    said = run("verify", pair.cfg, pair.weights, out).stdout
    assert "slim.onnx = slim.weights" in said and "verified" in said
    slim = out / "slim.cfg", out / "slim.weights"
    assert run("export", *slim, "--onnx", tmp_path / "x.onnx", *options).exit_code == 0
    assert (tmp_path / "x.onnx").read_bytes() == (out / "slim.onnx").read_bytes()
    # Of the same network without the pruning: of the right shapes, and wrong.
    run("export", pair.cfg, pair.weights, "--onnx", out / "slim.onnx", *options)
    assert "differs from torch" in refused("verify", pair.cfg, pair.weights, out)


def test_the_report_says_what_the_file_says(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    prune = ("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5)
    run(*prune, "--onnx")
    section = (out / "report.md").read_text().split("## slim.onnx\n\n")[1]
    lines = onnx.load(out / "slim.onnx").doc_string.splitlines()
    assert section == "".join(f"- {line}\n" for line in lines)
    assert "Input `images`: float32 (batch, 3, 64, 64), RGB" in section
    run(*prune)
    assert "slim.onnx" not in (out / "report.md").read_text()


def test_a_recovered_network_is_written_in_the_form_it_was_in(pair: "Pair", tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png", noise)
    out = tmp_path / "slim"
    run("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5, "--onnx")
    (tmp_path / "a.names").write_text("hand\nfist\n")
    slim = out / "slim.cfg", out / "slim.weights"
    run("export", *slim, "--onnx", out / "slim.onnx", "--raw", "--batch", 2,
        "--names", tmp_path / "a.names")  # fmt: skip
    before = onnx.load(out / "slim.onnx")
    recovering = run("reconstruct", pair.cfg, pair.weights, out, "--images", tmp_path / "photos",
                     "--recalibrate")  # fmt: skip
    assert recovering.exit_code == 0, recovering.output
    after = onnx.load(out / "slim.onnx")
    assert after.metadata_props == before.metadata_props
    assert after.graph.output == before.graph.output
    assert after.graph.initializer != before.graph.initializer
    assert "verified" in run("verify", pair.cfg, pair.weights, out).stdout


def test_a_network_without_heads_has_maps_alone(tmp_path: Path) -> None:
    cfg, weights, out = (tmp_path / name for name in ("net.cfg", "net.weights", "net.onnx"))
    cfg.write_text(HEADLESS)
    run("init", cfg, "--out", weights)
    assert run("export", cfg, weights, "--onnx", out).exit_code == 0
    assert outputs(out) == ["output"]
    assert "no detection head" in refused("export", cfg, weights, "--onnx", out, "--decode")
    prune = ("prune", cfg, weights, "--keep-macs", 0.5, "--out", tmp_path / "slim", "--decode")
    assert "no detection head" in refused(*prune, "--onnx")
    assert "are ignored without --onnx" in run(*prune).stderr


def test_a_folder_whose_file_cannot_be_read_is_not_recovered(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "slim"
    run("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.5)
    (out / "slim.onnx").write_bytes(b"nothing")
    shutil.copytree(out, tmp_path / "before")
    message = refused("reconstruct", pair.cfg, pair.weights, out, "--images", tmp_path)
    assert "slim.onnx: ONNX Runtime cannot run it" in message
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "before" / path.name).read_bytes()
