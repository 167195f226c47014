"""Every command that the README shows is run, on networks and data small enough for a test."""

import re
import shlex
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from demo.hands import main, write_rendered_hands
from tests.cli.commands import run
from tests.training.painted import paint
from tests.workflows.case_study.tiny import TINY, torch_alone
from yoloprune.darknet.parser import write_cfg
from yoloprune.darknet.weights import write_weights
from yoloprune.darknet.zoo import yolov3
from yoloprune.model.initialization import training_state
from yoloprune.report import latency
from yoloprune.workflows.case_study.settings import PRESETS

README = Path(__file__).parents[1] / "README.md"

SMALLER = {
    r"--epochs \d+": "--epochs 1 --batch-size 4 --workers 0",
    r"--hold-out 0.1": "--hold-out 0.3",
    r"--width [\d.]+": "--width 0.0625 --size 64",
    r"--anchors '...'": "--anchors '8,8, 10,14, 14,10, 12,12, 14,14, 16,16, 18,18, 20,20, 24,24'",
    r"(iterate .*)--keep-macs [\d.]+": r"\1--keep-macs 0.9 --step 0.1 --epochs-per-step 1 "
    "--batch-size 4 --workers 0",
    r"--train \d+ --test \d+": "--train 28 --test 6",
    r"(finetune .*)": r"\1 --epochs 1 --batch-size 4 --workers 0",
    r"(benchmark .*)": r"\1 --runs 1 --warmup 0",
}
"""What makes a command of the README quick."""


PROGRAMS = ("yoloprune ", "python -m demo.hands ")


def commands() -> list[str]:
    """Lines of the README's code blocks that begin with a program's name."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.split("#")[0].strip() for line in lines if line.startswith(PROGRAMS)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the README's commands start from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "full", TINY)
    monkeypatch.setattr(latency, "_engines", torch_alone)
    paint(tmp_path / "painted", train=12, test=4)
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    write_cfg(tmp_path / "yolo.cfg", spec)
    write_weights(tmp_path / "yolo.weights", spec, training_state(spec))
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "hand.names").write_text("hand\n")
    lists = {split: sorted((tmp_path / "painted" / "images" / split).iterdir())
             for split in ("train", "test")}  # fmt: skip
    for split, images in lists.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{image}\n" for image in images))
    (tmp_path / "hand.data").write_text(
        "classes = 1\ntrain = train.txt\nvalid = test.txt\nnames = hand.names\n"
    )
    write_rendered_hands(tmp_path / "original", train=28, test=6)
    with tarfile.open(tmp_path / "hand_dataset.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "original" / "hand_dataset", "hand_dataset")
    # The README trains on `hands/` before it says how to make it.
    run("data", "vgg-hand", "hand_dataset.tar.gz", "--out", "hands")
    return tmp_path


def test_every_command_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = commands()
    assert len(lines) > 20
    for line in lines:
        if line.startswith("yoloprune data vgg-hand hand_dataset"):
            continue  # Done above.
        quick = line
        for pattern, replacement in SMALLER.items():
            quick = re.sub(pattern, replacement, quick)
        words = shlex.split(quick)
        if words[0] == "python":
            monkeypatch.setattr("sys.argv", words[2:])
            main()
            continue
        result = run(*words[1:])
        assert result.exit_code == 0, (quick, result.output, result.exception)
