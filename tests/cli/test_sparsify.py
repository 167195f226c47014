"""`sparsify`, `expand`, and what other commands do with a sparse network."""

import json
import sys
from functools import partial
from itertools import count, cycle, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.networks import network_of
from yoloprune.engines import benchmark, sparse_benchmark
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.pruning.weights.mask_file import read_masks
from yoloprune.pruning.weights.storage import read_packed


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
    masks = read_masks(sparse / "masks.json", lower(spec))
    report = json.loads((sparse / "report.json").read_text())
    for conv in spec.convs:
        kernel, layer = state[conv.index].kernel, report["layers"][f"layer_{conv.index}.conv"]
        assert (layer["weights"], layer["nonzero"]) == (kernel.numel(), kernel.count_nonzero())
        assert (layer["sparsity"] > 0.85) == (f"layer_{conv.index}.kernel" in masks.kept)
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
        ours = network_of(spec, state)(images)
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
    for taken in ("sparse.cfg", "sparse.packed"):
        before = (sparse / taken).read_bytes()
        message = refused(
            "expand", sparse / "sparse.cfg", sparse / "sparse.packed", "--out", sparse / taken
        )
        assert "would replace what it is made of" in message
        assert (sparse / taken).read_bytes() == before


def test_a_folder_holds_what_one_command_wrote(pair: Pair, sparse: Path) -> None:
    prune = ["prune", pair.cfg, pair.weights, "--keep-macs", 0.7, "--out", sparse]
    again = ["sparsify", pair.cfg, pair.weights, "--sparsity", 0.5, "--out", sparse]
    own = [sparse / "sparse.cfg", sparse / "sparse.weights"]
    assert "would replace" in refused("prune", *own, *prune[3:])
    assert run(*prune).exit_code == 0
    assert not [*sparse.glob("sparse.*"), *sparse.glob("masks.json")]
    assert run(*again).exit_code == 0
    assert not [*sparse.glob("slim.*"), *sparse.glob("plan.json"), *sparse.glob("report.md")]
    (sparse / "slim.cfg").write_bytes(pair.cfg.read_bytes())
    message = refused("finetune", sparse, "--data", sparse, "--out", sparse / "run")
    assert "holds both masks.json and slim.cfg" in message


def test_what_an_option_or_a_pattern_does_not_do_is_said(pair: Pair, tmp_path: Path) -> None:
    command = ["sparsify", pair.cfg, pair.weights, "--sparsity", 0.5, "--out", tmp_path / "s"]
    result = run(*command, "--pattern", "2:4", "--scope", "layer")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "warning: the scope is ignored" in result.stderr
    first, second = read_cfg(pair.cfg).convs[:2]  # Of three and of two channels.
    assert f"layer_{first.index}.conv, layer_{second.index}.conv stay dense" in result.stderr
    assert run(*command, "--scope", "layer").stderr == ""


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


def packed_as_trained(out: Path) -> None:
    """Whether a run's packed file holds its best network."""
    spec = read_cfg(out / "best.cfg")
    packed = read_packed(out / "sparse.packed", lower(spec))
    trained = parameters(read_weights(out / "best.weights", spec))
    assert packed.keys() == trained.keys()
    for name, expected in trained.items():
        assert torch.equal(packed[name], expected)


def test_fine_tuning_holds_the_zeros(folder: Path, tmp_path: Path) -> None:
    best = [folder / "run" / "best.cfg", folder / "run" / "best.weights"]
    command = ["sparsify", *best, "--scope", "layer", "--out", tmp_path / "s", "--sparsity"]
    assert run(*command, 0.8).exit_code == 0
    tune = ["finetune", tmp_path / "s", "--data", folder / "data", "--epochs", 1,
            "--batch-size", 4, "--workers", 0, "--quiet", "--out", tmp_path / "run"]  # fmt: skip
    result = run(*tune)
    assert result.exit_code == 0, (result.output, result.exception)
    spec = read_cfg(tmp_path / "run" / "best.cfg")
    tuned = parameters(read_weights(tmp_path / "run" / "best.weights", spec))
    held = read_masks(tmp_path / "s" / "masks.json", lower(spec))
    for name, mask in held.kept.items():
        assert (tuned[name][~mask] == 0).all()
    assert read_masks(tmp_path / "run" / "masks.json", lower(spec)).digest() == held.digest()
    # And so does fine-tuning that goes on from there.
    further = run("finetune", tmp_path / "run", *tune[2:-1], tmp_path / "more")
    assert further.exit_code == 0, (further.output, further.exception)
    more = parameters(read_weights(tmp_path / "more" / "best.weights", spec))
    assert all((more[name][~mask] == 0).all() for name, mask in held.kept.items())
    packed_as_trained(tmp_path / "run")
    assert run(*command, 0.5).exit_code == 0
    assert "another weight masks" in refused(*tune, "--resume")
    (tmp_path / "s" / "masks.json").write_text("{}")
    assert "masks.json" in refused(*tune, "--resume")


def test_the_benchmark_names_the_fastest_dense_engine(
    sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run of zero-skipping lasts 2 ms by this clock.
    clock = count(0, 0.002)
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(process_time=lambda: next(clock)))
    lasting = {"slow": repeat(9.0), "fast": cycle([4.0, 7.0])}
    timed = sparse_benchmark.timer

    def timer(runner: Any, images: torch.Tensor) -> Any:
        return partial(next, lasting[runner]) if runner in lasting else timed(runner, images)

    monkeypatch.setattr(sparse_benchmark, "cpu_runners", lambda model: {n: n for n in lasting})
    monkeypatch.setattr(sparse_benchmark, "timer", timer)
    pair = [sparse / "sparse.cfg", sparse / "sparse.weights"]
    command = ["benchmark", *pair, "--sparse", "--runs", 3, "--warmup", 1, "--threads", 1]
    result = run(*command, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads(result.stdout)
    assert document["fastest_dense"] == "fast" and document["threads"] == 1
    assert document["speedup_vs_fastest_dense"] == pytest.approx(3.5)  # 7, 4 and 7 over 2.
    assert document["relative_error"] <= 1e-4
    assert document["latencies"].keys() == {"zero-skipping", "slow", "fast"}
    spec = read_cfg(pair[0])
    nodes = [f"layer_{conv.index}.conv" for conv in spec.convs]
    assert [layer["node"] for layer in document["layers"]] == nodes
    table = run(*command)
    assert "as fast as the fastest dense engine, fast" in table.stdout
    assert "one network" in refused(*command, *pair)
    monkeypatch.setattr("yoloprune.engines.sparse_benchmark.TOLERANCE", -1.0)
    assert "not timed" in refused(*command)
    monkeypatch.setitem(sys.modules, "yoloprune.engines.sparse_kernels", None)
    monkeypatch.delattr("yoloprune.engines.sparse_kernels", raising=False)
    assert "yoloprune[sparse]" in refused(*command)
