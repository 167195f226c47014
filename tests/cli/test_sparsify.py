"""`sparsify`, `expand`, and what other commands do with a sparse network."""

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from case_study.tiny import torch_alone
from cli.commands import refused, run
from cli.conftest import Pair

from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.model.network import Network
from yoloprune.report import latency
from yoloprune.sparsity.masks import read_masks


@pytest.fixture
def sparse(pair: Pair, tmp_path: Path) -> Path:
    result = run("sparsify", pair.cfg, pair.weights, "--sparsity", 0.9, "--scope", "layer",
                 "--exclude", "first,heads", "--out", tmp_path / "sparse")  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    return tmp_path / "sparse"


def test_it_writes_a_sparse_pair_masks_a_packed_file_and_a_report(pair: Pair, sparse: Path) -> None:
    names = {"sparse.cfg", "sparse.weights", "sparse.packed", "masks.json", "report.json"}
    assert {path.name for path in sparse.iterdir()} == names
    spec = read_cfg(sparse / "sparse.cfg")
    assert spec == read_cfg(pair.cfg)
    state = read_weights(sparse / "sparse.weights", spec)
    masks = read_masks(sparse / "masks.json", spec)
    report = json.loads((sparse / "report.json").read_text())
    for conv in spec.convs:
        kernel, layer = state[conv.index].kernel, report["layers"][str(conv.index)]
        assert (layer["weights"], layer["nonzero"]) == (kernel.numel(), kernel.count_nonzero())
        assert (layer["sparsity"] > 0.85) == (conv.index in masks.kept)
        assert layer["nonzero_macs"] * layer["weights"] == layer["macs"] * layer["nonzero"]
    assert report["dense"]["bytes"] == (sparse / "sparse.weights").stat().st_size
    assert report["sparse"]["bytes"] == (sparse / "sparse.packed").stat().st_size
    assert report["sparse"]["bytes"] < 0.2 * report["dense"]["bytes"]
    assert report["settings"]["exclude"] == ["first", "heads"]


def test_opencv_computes_from_the_sparse_files_what_we_do(sparse: Path) -> None:
    spec = read_cfg(sparse / "sparse.cfg")
    images = torch.rand(1, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        state = read_weights(sparse / "sparse.weights", spec)
        ours = Network.from_state(spec, state)(images)
    network = cv2.dnn.readNetFromDarknet(str(sparse / "sparse.cfg"), str(sparse / "sparse.weights"))
    network.setInput(images.numpy())
    for head, expected in zip(spec.heads, ours, strict=True):
        found = network.forward(f"conv_{head.sources[0]}")
        assert np.abs(found - expected.numpy()).max() <= 1e-3 * expected.abs().max()


def test_expand_gives_the_weights_back(sparse: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.weights"
    result = run("expand", sparse / "sparse.cfg", sparse / "sparse.packed", "--out", out)
    assert result.exit_code == 0, (result.output, result.exception)
    assert out.read_bytes() == (sparse / "sparse.weights").read_bytes()


def test_bad_input_is_one_line_and_writes_nothing(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["sparsify", pair.cfg, pair.weights, "--out", out, "--sparsity"]
    assert "must be in [0, 1)" in refused(*command, 1.0)
    assert "must be in [0, 1)" in refused(*command, -0.5)
    assert "exactly half" in refused(*command, 0.9, "--pattern", "2:4")
    assert "'last' is unknown" in refused(*command, 0.9, "--exclude", "last")
    assert "would lose all its weights" in refused(*command, 0.9999)
    assert not out.exists()
    (tmp_path / "sparse.cfg").write_bytes(pair.cfg.read_bytes())
    beside = ["sparsify", tmp_path / "sparse.cfg", pair.weights, "--out", tmp_path]
    assert "would replace the dense network" in refused(*beside, "--sparsity", 0.5)
    assert "not a packed file" in refused("expand", pair.cfg, pair.weights, "--out", out)
    assert not out.exists()


def test_fine_tuning_holds_the_zeros(folder: Path, tmp_path: Path) -> None:
    best = [folder / "run" / "best.cfg", folder / "run" / "best.weights"]
    command = ["sparsify", *best, "--scope", "layer", "--out", tmp_path / "s", "--sparsity"]
    assert run(*command, 0.8).exit_code == 0
    tune = ["finetune", tmp_path / "s", "--data", folder / "data", "--epochs", 1,
            "--batch-size", 4, "--workers", 0, "--quiet", "--out", tmp_path / "run"]  # fmt: skip
    result = run(*tune)
    assert result.exit_code == 0, (result.output, result.exception)
    spec = read_cfg(tmp_path / "run" / "best.cfg")
    state = read_weights(tmp_path / "run" / "best.weights", spec)
    for index, mask in read_masks(tmp_path / "s" / "masks.json", spec).kept.items():
        assert (state[index].kernel[~mask] == 0).all()
    assert run(*command, 0.5).exit_code == 0
    assert "another weight masks" in refused(*tune, "--resume")
    (tmp_path / "s" / "masks.json").write_text("{}")
    assert "masks.json" in refused(*tune, "--resume")


def test_iterating_over_weights_reaches_the_sparsity_and_resumes(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "steps"
    command = ["iterate", folder / "run" / "best.cfg", folder / "run" / "best.weights",
               "--method", "weights", "--sparsity", 0.8, "--step", 0.4, "--schedule", "cubic",
               "--exclude", "heads", "--data", folder / "data", "--epochs-per-step", 1,
               "--batch-size", 4, "--workers", 0, "--quiet", "--out", out]  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    rows = re.findall(r"^\| \d .*", result.stdout, re.M)
    shares = [float(row.split("|")[2]) for row in rows]
    assert shares == pytest.approx([1.0, 0.3, 0.2], abs=1e-3)
    spec = read_cfg(out / "best.cfg")
    state = read_weights(out / "best.weights", spec)
    first, last = (read_masks(out / f"step-0{n}" / "masks.json", spec).kept for n in (1, 2))
    for index, mask in last.items():
        assert (state[index].kernel[~mask] == 0).all()
        assert not (mask & ~first[index]).any()
    final = (out / "best.weights").read_bytes()
    for name in ("last.pt", "last.cfg", "last.weights", "accuracy.json"):
        (out / "step-02" / name).unlink()
    assert run(*command, "--resume").exit_code == 0
    assert (out / "best.weights").read_bytes() == final
    assert "another weight_sparsity" in refused(*command, "--resume", "--sparsity", 0.7)


def test_iterate_wants_the_target_that_its_method_has(folder: Path, tmp_path: Path) -> None:
    command = ["iterate", folder / "run" / "best.cfg", folder / "run" / "best.weights",
               "--data", folder / "data", "--out", tmp_path / "o", "--image-size", 64]  # fmt: skip
    for options in (
        [],
        ["--method", "weights"],
        ["--method", "weights", "--keep-macs", 0.5],
        ["--sparsity", 0.5],
        ["--keep-macs", 0.5, "--sparsity", 0.5],
    ):
        assert "--sparsity with --method weights" in refused(*command, *options)
    weights = [*command, "--method", "weights", "--sparsity"]
    assert "must be in [0, 1)" in refused(*weights, 1.5)
    assert "no steps" in refused(*weights, 0.5, "--pattern", "2:4")
    assert not (tmp_path / "o").exists()


def test_the_benchmark_names_the_fastest_dense_engine(
    sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_engines", torch_alone)
    pair = [sparse / "sparse.cfg", sparse / "sparse.weights"]
    command = ["benchmark", *pair, "--sparse", "--runs", 2, "--warmup", 1, "--threads", 1]
    result = run(*command, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(result.stdout)
    assert document["fastest_dense"] == "torch eager" and document["threads"] == 1
    assert document["speedup_vs_fastest_dense"] > 0
    assert document["relative_error"] <= 1e-4
    assert document["latencies"].keys() == {"zero-skipping", "torch eager"}
    spec = read_cfg(pair[0])
    assert [layer["index"] for layer in document["layers"]] == [c.index for c in spec.convs]
    table = run(*command)
    assert "as fast as the fastest dense engine, torch eager" in table.stdout
    assert "one network" in refused(*command, *pair)
    monkeypatch.setattr("yoloprune.report.sparse_latency.TOLERANCE", -1.0)
    assert "not timed" in refused(*command)
    monkeypatch.setitem(sys.modules, "yoloprune.sparsity.kernels", None)
    monkeypatch.delattr("yoloprune.sparsity.kernels", raising=False)
    assert "`sparse` extra" in refused(*command)
