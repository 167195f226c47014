from pathlib import Path

import pytest

from tests.cli.commands import refused
from yoloprune.cli.pairs import with_pairs
from yoloprune.errors import UsageError


def test_a_folder_stands_for_a_pair_of_an_option(tmp_path: Path) -> None:
    for name in ("best.cfg", "best.weights"):
        (tmp_path / name).touch()
    pair = [str(tmp_path / "best.cfg"), str(tmp_path / "best.weights")]
    words = ["finetune", "slim", "--teacher", str(tmp_path), "--epochs", "1"]
    assert with_pairs(words) == [*words[:3], *pair, *words[4:]]
    assert with_pairs(["train", "a.cfg", "--transfer", *pair]) == [
        "train", "a.cfg", "--transfer", *pair
    ]  # fmt: skip
    # Of other options a folder is a folder.
    assert with_pairs(["train", "--data", str(tmp_path)]) == ["train", "--data", str(tmp_path)]
    (tmp_path / "empty").mkdir()
    message = refused("finetune", "slim", "--teacher", tmp_path / "empty", "--data", "d")
    assert "no network in this folder" in message


def test_a_folder_of_an_onnx_file_is_no_pair(tmp_path: Path) -> None:
    (tmp_path / "slim.onnx").touch()
    with pytest.raises(UsageError, match=r"slim\.onnx: --teacher takes a Darknet pair"):
        with_pairs(["finetune", "--teacher", str(tmp_path)])
