"""The program that the README shows runs."""

import re
from pathlib import Path
from typing import Any

import pytest

import yoloprune
from tests.training.painted import paint
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny

README = Path(__file__).parents[1] / "README.md"


def test_the_program_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = paint(tmp_path / "hands", train=8, test=4)
    images = {split: sorted((data / "images" / split).iterdir()) for split in ("train", "test")}
    for split, paths in images.items():
        (tmp_path / f"{split}.txt").write_text("".join(f"{path}\n" for path in paths))
    (tmp_path / "hand.data").write_text("classes = 1\ntrain = train.txt\nvalid = test.txt\n")
    (tmp_path / "photos").symlink_to(data / "images" / "train")
    spec = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
    write_cfg(tmp_path / "yolo.cfg", spec)
    write_weights(tmp_path / "yolo.weights", spec, random_state(spec))
    finetune = yoloprune.finetune

    def quick(*arguments: Any, **options: Any) -> Any:
        return finetune(*arguments, **options | {"epochs": 1, "batch_size": 4, "workers": 0})

    monkeypatch.setattr(yoloprune, "finetune", quick)
    (program,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    exec(program, {})
    said = capsys.readouterr().out
    assert "| Slim |" in said and "slim = masked dense" in said
    assert (tmp_path / "slim" / "slim.weights").exists()
    assert float(said.splitlines()[-1]) >= 0
