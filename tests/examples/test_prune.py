"""The script and the notebook that prune: run on a network and photos made here."""

import ast
import json
import runpy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import yoloprune
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with yolo.cfg, yolo.weights and photos/."""
    monkeypatch.chdir(tmp_path)
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    write_cfg(tmp_path / "yolo.cfg", spec)
    write_weights(tmp_path / "yolo.weights", spec, training_state(spec))
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), pixels)
    return tmp_path


def macs(path: str) -> float:
    return float(yoloprune.inspect(path).shown().document["macs"])


def test_the_script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["prune_and_recover.py", "yolo.cfg", "photos"])
    runpy.run_path(str(EXAMPLES / "prune_and_recover.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "slim = masked dense" in said
    assert "written: slim.cfg slim.weights" in said
    assert macs("slim") <= 0.6 * macs("yolo.cfg")


def test_the_notebook() -> None:
    notebook = json.loads((EXAMPLES / "prune.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = []
    names: dict[str, Any] = {}
    for cell in cells:
        assert not cell["outputs"], "outputs are not kept in the repository"
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), "cell", "exec"), names)
        assert isinstance(last, ast.Expr), "a cell ends with what it shows"
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    tables = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert len(tables) == 5
    assert all(table.startswith("<table>") for table in tables)
    assert macs("slim") <= 0.6 * macs("yolo.cfg")
