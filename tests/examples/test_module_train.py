"""The script that prunes a module of its own in the middle of its training."""

import runpy
from pathlib import Path

import pytest

from tests.modules import quiet

EXAMPLE = Path(__file__).parents[2] / "examples" / "module_train.py"


def test_it_prunes_trains_on_saves_and_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with quiet():
        runpy.run_path(str(EXAMPLE))["main"](tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"slim.json", "slim.onnx", "slim.safetensors"}
    assert "same: True" in capsys.readouterr().out
