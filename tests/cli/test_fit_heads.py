"""Heads for the classes of a data set, and the splits to train on, as a user types it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.commands import refused, run
from tests.training.painted import paint
from yoloprune.data.anchors import network_anchors
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights

SETTINGS = ("--epochs", 1, "--batch-size", 4, "--workers", 0)
STILL = (*SETTINGS, "--learning-rate", 1e-9)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`net.cfg` and `net.weights` of five classes, `data` of one class with a name."""
    root = tmp_path_factory.mktemp("five")
    paint(root / "data", train=8, test=4)
    (root / "data" / "painted.names").write_text("rectangle\n")
    run("zoo", "yolov3-tiny", "--classes", 5, "--width", 0.0625, "--size", 64,
        "--out", root / "net.cfg")  # fmt: skip
    run("init", root / "net.cfg", "--out", root / "net.weights")
    return root


def test_a_mismatch_is_refused_and_the_option_named(five: Path, tmp_path: Path) -> None:
    pair, data = (five / "net.cfg", five / "net.weights"), five / "data"
    run("prune", *pair, "--keep-channels", 0.9, "--out", tmp_path / "slim")
    for start in (
        ("train", pair[0], "--weights", pair[1]),
        ("finetune", tmp_path / "slim"),
        ("iterate", *pair, "--keep-macs", 0.8),
    ):
        message = refused(*start, "--data", data, "--out", tmp_path / "run", "--workers", 0)
        assert f"{data}: its classes are 1 (rectangle), the network's 5" in message
        assert "--fit-heads" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("start", ["weights", "transfer"])
def test_train_makes_heads_that_fit(start: str, five: Path, tmp_path: Path) -> None:
    cfg, weights, out = five / "net.cfg", five / "net.weights", tmp_path / "run"
    given = (weights,) if start == "weights" else (cfg, weights)
    command = ("train", cfg, f"--{start}", *given, "--data", five / "data", "--out", out,
               "--fit-heads", *STILL)  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "5 classes before, 1 now" in result.stderr
    old, new = read_cfg(cfg), read_cfg(out / "best.cfg")
    assert {head.classes for head in new.heads} == {1}
    before = read_weights(weights, old)
    after = read_weights(out / "best.weights", new)
    for index, conv in before.items():
        rows = [conv.kernel, after[index].kernel]
        if index in {head.sources[0] for head in old.heads}:
            rows = [kernel.unflatten(0, (3, -1))[:, :5] for kernel in rows]
        assert torch.allclose(*rows, atol=1e-6), index
    # The boxes are some 10 to 20 pixels wide.
    assert network_anchors(new).max() < 32 < network_anchors(old).max()
    assert (out / "best.names").read_text() == (out / "last.names").read_text() == "rectangle\n"
    assert run(*command, "--resume").exit_code == 0
    again = ("train", out / "best.cfg", "--weights", out / "best.weights", "--data", five / "data")
    assert run(*again, "--out", tmp_path / "again", *SETTINGS).exit_code == 0


def test_finetune_makes_heads_that_fit(five: Path, tmp_path: Path) -> None:
    pair, data = (five / "net.cfg", five / "net.weights"), five / "data"
    run("prune", *pair, "--keep-channels", 0.9, "--out", tmp_path / "slim")
    slim = ("finetune", tmp_path / "slim", "--data", data, "--fit-heads", *SETTINGS)
    assert run(*slim, "--out", tmp_path / "run").exit_code == 0
    assert {head.classes for head in read_cfg(tmp_path / "run" / "best.cfg").heads} == {1}
    assert "heads differ" in refused(*slim, "--out", tmp_path / "no", "--teacher", *pair)
    assert not (tmp_path / "no").exists()
    assert run("verify", *pair, tmp_path / "slim").exit_code == 0


def test_a_sparse_network_keeps_its_zeros_under_other_heads(five: Path, tmp_path: Path) -> None:
    run("sparsify", five / "net.cfg", five / "net.weights", "--sparsity", 0.5,
        "--out", tmp_path / "sparse")  # fmt: skip
    result = run("finetune", tmp_path / "sparse", "--data", five / "data", "--fit-heads",
                 "--out", tmp_path / "run", *SETTINGS)  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    old, new = read_cfg(five / "net.cfg"), read_cfg(tmp_path / "run" / "best.cfg")
    before = read_weights(tmp_path / "sparse" / "sparse.weights", old)
    after = read_weights(tmp_path / "run" / "best.weights", new)
    heads = {head.sources[0] for head in old.heads}
    assert all(not after[i].kernel[before[i].kernel == 0].any() for i in after if i not in heads)


def test_known_names_keep_their_rows(five: Path, tmp_path: Path) -> None:
    for name in ("net.cfg", "net.weights"):
        shutil.copy(five / name, tmp_path / name)
    (tmp_path / "net.names").write_text("a\nb\nRectangle\nc\nd\n")
    cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    result = run("train", cfg, "--weights", weights, "--data", five / "data", "--fit-heads",
                 "--out", tmp_path / "run", *STILL)  # fmt: skip
    assert "1 of them taken over" in result.stderr
    old, new = read_cfg(cfg), read_cfg(tmp_path / "run" / "best.cfg")
    index = old.heads[0].sources[0]
    was = read_weights(weights, old)[index].kernel.unflatten(0, (3, -1))
    now = read_weights(tmp_path / "run" / "best.weights", new)[index].kernel.unflatten(0, (3, -1))
    assert torch.allclose(was[:, 5 + 2], now[:, 5], atol=1e-6)


def test_data_without_names(five: Path, tmp_path: Path) -> None:
    """They may use a part of the classes, which is said; more of them are refused by line."""
    data = shutil.copytree(five / "data", tmp_path / "data")
    (data / "painted.names").unlink()
    start = ("train", five / "net.cfg", "--weights", five / "net.weights", "--data", data)
    result = run(*start, "--out", tmp_path / "run", *SETTINGS)
    assert result.exit_code == 0 and "use 1 of the network's 5: --fit-heads" in result.stderr
    assert not (tmp_path / "run" / "best.names").exists()
    label = data / "labels" / "train" / "0.txt"
    label.write_text(label.read_text() + "6 0.5 0.5 0.2 0.2\n")
    line = len(label.read_text().splitlines())
    message = refused(*start, "--out", tmp_path / "no", *SETTINGS)
    assert f"{label}:{line}: class 6" in message and "--fit-heads" in message
    result = run(*start, "--out", tmp_path / "more", "--fit-heads", *SETTINGS)
    assert "7 now" in result.stderr and not (tmp_path / "more" / "best.names").exists()


def test_splits_that_are_asked_for(five: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for kind in ("images", "labels"):
        shutil.copytree(five / "data" / kind / "train", data / kind / "fold1")
        shutil.copytree(five / "data" / kind / "test", data / kind / "fold2")
    start = ("train", five / "net.cfg", "--data", data, "--fit-heads", *SETTINGS)
    result = run(*start, "--train-split", "fold1", "--val-split", "fold2", "--out", tmp_path / "a")
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads((tmp_path / "a" / "config.json").read_text())["training_images"] == 8
    assert "'train'" in refused(*start, "--out", tmp_path / "no")
    assert "'fold3'" in refused(*start, "--train-split", "fold3", "--out", tmp_path / "no")
    assert "not both" in refused(
        *start, "--train-split", "fold1", "--val-split", "fold2", "--hold-out", 0.25,
        "--out", tmp_path / "no",
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["images", "beside"])
def test_a_folder_without_splits_is_divided(layout: str, five: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for kind in ("images", "labels"):
        place = data / kind if layout == "images" else data
        shutil.copytree(five / "data" / kind / "train", place, dirs_exist_ok=True)
    start = ("train", five / "net.cfg", "--data", data, "--fit-heads", *SETTINGS, "--out")
    warned = run(*start, tmp_path / "all")
    assert "8 of the 8 images to choose the best epoch by are training images" in warned.output
    result = run(*start, tmp_path / "run", "--hold-out", 0.25)
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training_images"] == 6


def test_validation_by_training_images_is_said(five: Path, tmp_path: Path) -> None:
    """A .data file may name one list twice, as darknet needs one of each."""
    shutil.copytree(five / "data" / "images" / "train", tmp_path / "images")
    shutil.copytree(five / "data" / "labels" / "train", tmp_path / "labels")
    names = "".join(f"images/{number}.png\n" for number in range(8))
    (tmp_path / "all.txt").write_text(names)
    data = tmp_path / "set.data"
    data.write_text("classes = 5\ntrain = all.txt\nvalid = all.txt\n")
    result = run("train", five / "net.cfg", "--data", data, "--out", tmp_path / "run", *SETTINGS)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "8 of the 8 images to choose the best epoch by are training images" in result.stderr
