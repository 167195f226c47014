"""What the README and the pages show is run, on networks and data small enough for a test.

Commands build on one another, in the order of the pages.
"""

import re
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from demo.hands import main, write_rendered_hands
from tests.cli.commands import run
from tests.frontends.onnx.models import residual
from tests.training.painted import paint
from tests.workflows.case_study.tiny import shrink
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3, yolov3_tiny
from yoloprune.pruning.clock import listed_layers
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layer_times import write_timings
from yoloprune.workflows.prune import prune

ROOT = Path(__file__).parents[1]
GUIDES = ("prune", "recover", "sparsify", "evaluate", "data", "onnx", "train", "compare")
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "index.md",
    *(ROOT / "docs" / "guide" / f"{name}.md" for name in GUIDES),
    ROOT / "docs" / "case-study.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "classifiers.md",
)

SMALLER = {
    r"--epochs \d+": "--epochs 1 --batch-size 4 --workers 0",
    r"--hold-out 0.1": "--hold-out 0.3",
    r"--width [\d.]+": "--width 0.0625 --size 64",
    r"--anchors '...'": "--anchors '8,8, 10,14, 14,10, 12,12, 14,14, 16,16, 18,18, 20,20, 24,24'",
    r"(iterate .*--data .*)--keep-macs [\d.]+": r"\1--keep-macs 0.9 --step 0.1 --epochs-per-step 1 "
    "--batch-size 4 --workers 0",
    r"--train \d+ --test \d+": "--train 28 --test 6",
    r"(finetune .*)": r"\1 --epochs 1 --batch-size 4 --workers 0",
    r"--distill \d+": "--distill 0.01",
    r"--silent-below [\d.]+": "--silent-below 0.001",
    r"(benchmark .*)": r"\1 --runs 1 --warmup 0",
    r"report study/0 study/1 study/2": "report study/",
    r"(compare .*)": r"\1 --tools ours,uniform --runs 1",
}
"""What makes a command quick."""


PROGRAMS = ("yoloprune ", "python -m demo.hands ")
DONE = "yoloprune data vgg-hand hand_dataset"
"""Done before anything else, for pages train on `hands/` before one says how to make it."""


def commands() -> list[str]:
    """Python blocks, and lines of other blocks that begin with a program's name, each once."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
            lines = [line for line in block.splitlines() if line.startswith(PROGRAMS)]
            if language == "python":
                # The README's program is run in a folder of its own (`test_python_example`).
                found += [block] if page.name != "README.md" else []
            else:
                found += [line.split(" #")[0].strip() for line in lines]
    return [line for line in dict.fromkeys(found) if not line.startswith(DONE)]


COMMANDS = commands()


@pytest.fixture(scope="module")
def monkeypatch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def session(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Iterator[str]]:
    """The commands that are still to be run, in a folder with everything that they start from."""
    tmp_path = tmp_path_factory.mktemp("documented")
    monkeypatch.chdir(tmp_path)
    shrink(monkeypatch, "full")
    paint(tmp_path / "painted", train=12, test=4)
    spec = yolov3(classes=1, width=0.0625, size=(64, 64))
    write_cfg(tmp_path / "yolo.cfg", spec)
    write_weights(tmp_path / "yolo.weights", spec, training_state(spec))
    several = yolov3_tiny(classes=3, width=0.0625, size=(64, 64))
    write_cfg(tmp_path / "coco.cfg", several)
    write_weights(tmp_path / "coco.weights", several, training_state(several))
    (tmp_path / "coco.names").write_text("person\nbicycle\ncar\n")
    onnx.save_model(residual(), tmp_path / "net.onnx")
    export_onnx(spec, training_state(spec), tmp_path / "detector.onnx", decoded=True)
    prune(tmp_path / "net.onnx", {"macs": 0.7}).slim.save(tmp_path / "theirs.onnx")
    layers = listed_layers(analyze(lower(spec)))
    write_timings(tmp_path / "timings.csv", {layer: 1e-6 * layer.macs for layer in layers})
    (tmp_path / "photos").mkdir()
    for name in ("a", "b", "c", "d"):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), np.zeros((64, 64, 3), np.uint8))
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
    assert run("data", "vgg-hand", "hand_dataset.tar.gz", "--out", "hands").exit_code == 0
    yield iter(COMMANDS)


def execute(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what is documented, a command made quick."""
    if "\n" in line:
        exec(line, {})
        return
    for pattern, replacement in SMALLER.items():
        line = re.sub(pattern, replacement, line)
    words = shlex.split(line)
    if words[0] == "python":
        monkeypatch.setattr("sys.argv", words[2:])
        main()
        return
    result = run(*words[1:])
    assert result.exit_code == 0, (line, result.output, result.exception)


@pytest.mark.parametrize("line", COMMANDS)
def test_it_runs(line: str, session: Iterator[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # One alone runs those before it first.
    for ready in session:
        execute(ready, monkeypatch)
        if ready == line:
            return
    pytest.fail("a command before it failed in a way that ended the session")


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 30
