"""A network is a pair of files or a folder, for every command alike."""

import json
from pathlib import Path

import pytest
import torch

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from yoloprune.cli.networks import first_network
from yoloprune.errors import YoloPruneError

COMMANDS = {
    "inspect": [],
    "prune": ["--keep-macs", 0.5, "--out", "out"],
    "sparsify": ["--sparsity", 0.5, "--out", "out"],
    "verify": ["slim"],
    "reconstruct": ["slim", "--images", "images"],
    "sweep": [0.5, "--data", "data"],
    "evaluate": ["--data", "data"],
    "detect": ["images", "--out", "out"],
    "finetune": ["--data", "data", "--out", "out"],
    "iterate": ["--keep-macs", 0.5, "--data", "data", "--out", "out"],
    "export": ["--onnx", "out.onnx"],
    "benchmark": [],
}
"""What each command needs beside its network."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_was_given_instead_of_a_network(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "images", "data", "slim"):
        (tmp_path / name).mkdir()
    assert "empty: no network in this folder" in refused(command, "empty", *COMMANDS[command])
    torch.save({"model": {}}, "best.pt")
    message = refused(command, "best.pt", "best.pt", *COMMANDS[command])
    assert "best.pt: not a darknet .cfg file, but a PyTorch checkpoint" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.pt", "data", "empty", "images", "slim"
    ]  # fmt: skip


@pytest.fixture
def folders(pair: Pair, tmp_path: Path) -> Path:
    """`slim`, with a network of that name, and `run`, with the best and the last of a run."""
    for folder, names in (("slim", ["slim"]), ("run", ["best", "last"])):
        (tmp_path / folder).mkdir()
        for name in names:
            for file in (pair.cfg, pair.weights):
                (tmp_path / folder / f"{name}{file.suffix}").write_bytes(file.read_bytes())
    return tmp_path


def test_a_folder_stands_for_the_pair_in_it(folders: Path, pair: Pair) -> None:
    slim, rest = first_network([str(folders / "slim"), "photos"])
    assert slim == (folders / "slim" / "slim.cfg", folders / "slim" / "slim.weights")
    assert rest == ["photos"]
    files, rest = first_network([str(pair.cfg), str(pair.weights), "a", "b"])
    assert (files, rest) == ((pair.cfg, pair.weights), ["a", "b"])


def test_what_a_folder_means_must_be_clear(folders: Path, pair: Pair) -> None:
    for words, problem in (
        ([], "name a network"),
        ([pair.cfg], "its .weights must follow"),
        ([pair.cfg, folders], "its .weights must follow"),
        ([folders / "gone"], "cannot read a cfg or a folder: No such file"),
    ):
        with pytest.raises(YoloPruneError, match=problem):
            first_network([str(word) for word in words])


def test_commands_give_the_same_for_both(folders: Path, pair: Pair) -> None:
    as_pair = run("inspect", pair.cfg, pair.weights, "--json")
    as_folder = run("inspect", folders / "slim", "--json")
    assert json.loads(as_folder.stdout) == json.loads(as_pair.stdout)
    assert "dead_channels" in as_folder.stdout
    result = run("prune", folders / "run", "--keep-macs", 0.5, "--out", folders / "new")
    assert result.exit_code == 0, result.output
    assert run("verify", folders / "run", folders / "new").exit_code == 0
    assert "one network is enough" in refused("inspect", folders / "slim", folders / "run")
    three = [folders / "slim"] * 3
    assert "two networks are enough here" in refused("benchmark", *three)
    assert "not 0 folders" in refused("verify", folders / "run")


def test_names_go_with_the_network(pair: Pair, tmp_path: Path) -> None:
    pair.cfg.with_suffix(".names").write_text("left\nright\n")
    for command, name in (("prune", "slim"), ("sparsify", "sparse")):
        out = tmp_path / name
        words = ("--keep-macs", 0.5) if command == "prune" else ("--sparsity", 0.5)
        result = run(command, pair.cfg, pair.weights, *words, "--out", out)
        assert f"{name}.names" in result.stdout
        assert (out / f"{name}.names").read_text() == "left\nright\n"
    # What is there from before goes, if the next network has no names.
    pair.cfg.with_suffix(".names").unlink()
    run("prune", pair.cfg, pair.weights, "--keep-macs", 0.5, "--out", tmp_path / "slim")
    assert not (tmp_path / "slim" / "slim.names").exists()
