"""`sparsify`, `expand`, and what other commands do with a sparse network."""

import json
import re
import shutil
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
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.engines import benchmark, sparse_benchmark
from yoloprune.model.network import Network
from yoloprune.sparsity.mask_file import read_masks
from yoloprune.sparsity.storage import read_packed
from yoloprune.training.run_folder import write_network


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
    assert f"{first.title}, {second.title} stay dense" in result.stderr
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
    packed = read_packed(out / "sparse.packed", spec)
    for index, parameters in read_weights(out / "best.weights", spec).items():
        for (_, tensor), (_, expected) in zip(
            packed[index].items(), parameters.items(), strict=True
        ):
            assert torch.equal(tensor, expected)


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
    held = read_masks(tmp_path / "s" / "masks.json", spec)
    for index, mask in held.kept.items():
        assert (state[index].kernel[~mask] == 0).all()
    assert read_masks(tmp_path / "run" / "masks.json", spec).digest() == held.digest()
    # And so does fine-tuning that goes on from there.
    further = run("finetune", tmp_path / "run", *tune[2:-1], tmp_path / "more")
    assert further.exit_code == 0, (further.output, further.exception)
    more = read_weights(tmp_path / "more" / "best.weights", spec)
    assert all((more[index].kernel[~mask] == 0).all() for index, mask in held.kept.items())
    packed_as_trained(tmp_path / "run")
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
               "--batch-size", 4, "--workers", 0, "--out", out]  # fmt: skip
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
    packed_as_trained(out)
    assert read_masks(out / "masks.json", spec).kept.keys() == last.keys()
    final = (out / "best.weights").read_bytes()
    for name in ("trained", "evaluated"):
        shutil.rmtree(out / "step-02" / name)
    assert run(*command, "--resume").exit_code == 0
    assert (out / "best.weights").read_bytes() == final
    assert "another weight_sparsity" in refused(*command, "--resume", "--sparsity", 0.7)
    further = ["iterate", out / "best.cfg", out / "best.weights", *command[3:-1]]
    message = refused(*further, tmp_path / "more")
    assert "only 0.2 of the weights are left already" in message
    assert not (tmp_path / "more").exists()


def test_files_of_a_network_that_is_no_longer_the_best_go(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = iter([0.9, 0.9, 0.5])
    monkeypatch.setattr(
        "yoloprune.workflows.steps.evaluate",
        lambda *_, **__: SimpleNamespace(map50=next(following)),
    )
    monkeypatch.setattr("yoloprune.workflows.steps.train", untrained)
    spec = read_cfg(folder / "run" / "best.cfg")
    dense = tmp_path / "half"
    best = [folder / "run" / "best.cfg", folder / "run" / "best.weights"]
    assert run("sparsify", *best, "--sparsity", 0.3, "--out", dense).exit_code == 0
    out = tmp_path / "steps"
    command = ["iterate", dense / "sparse.cfg", dense / "sparse.weights", "--method", "weights",
               "--sparsity", 0.5, "--step", 0.25, "--data", folder / "data", "--batch-size", 4,
               "--quiet", "--out", out, "--map-floor"]  # fmt: skip
    result = run(*command, 0.6)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "warning: the steps up to 1 have no effect" in result.stderr
    # Fewer zeros are asked for than there are, and none comes back.
    masks = read_masks(out / "masks.json", spec)
    assert sum(int(mask.sum()) for mask in masks.kept.values()) == pytest.approx(
        0.7 * sum(mask.numel() for mask in masks.kept.values()), abs=1
    )
    packed_as_trained(out)
    shutil.rmtree(out / "step-01" / "evaluated")
    following = iter([0.5])
    assert "step 0" in run(*command, 0.6, "--resume").stdout
    assert not (out / "sparse.packed").exists() and not (out / "masks.json").exists()


def untrained(spec: NetworkSpec, state: State, *, run: Path, **_: object) -> None:
    write_network(run, "last", spec, state, 0)


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
    assert "--sparsity 0 leaves nothing to do" in refused(*weights, 0)
    assert "would lose all its weights" in refused(*weights, 0.9999)
    alone = "goes with --method channels alone"
    assert f"--criterion {alone}" in refused(*weights, 0.5, "--criterion", "l1")
    assert f"--reconstruct {alone}" in refused(*weights, 0.5, "--reconstruct")
    for option in (["--exclude", "heads"], ["--pattern", "1x4"]):
        message = refused(*command, "--keep-macs", 0.5, *option)
        assert f"{option[0]} goes with --method weights alone" in message
    assert "no steps" in refused(*weights, 0.5, "--pattern", "2:4")
    assert not (tmp_path / "o").exists()


def test_the_benchmark_names_the_fastest_dense_engine(
    sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A run of zero-skipping lasts 2 ms by this clock.
    clock = count(0, 0.002)
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
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
    assert [layer["index"] for layer in document["layers"]] == [c.index for c in spec.convs]
    table = run(*command)
    assert "as fast as the fastest dense engine, fast" in table.stdout
    assert "one network" in refused(*command, *pair)
    monkeypatch.setattr("yoloprune.engines.sparse_benchmark.TOLERANCE", -1.0)
    assert "not timed" in refused(*command)
    monkeypatch.setitem(sys.modules, "yoloprune.engines.sparse_kernels", None)
    monkeypatch.delattr("yoloprune.engines.sparse_kernels", raising=False)
    assert "yoloprune[sparse]" in refused(*command)
