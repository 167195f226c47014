import subprocess
from pathlib import Path

import pytest

from tests.frontends.onnx.models import loaded, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx import apart
from yoloprune.frontends.onnx.apart import answer, converted


def test_what_brings_a_library_down_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies, as onnx's converter may over a damaged model."""
    program = tmp_path / "program.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(apart, "__file__", str(tmp_path / "apart.py"))
    with pytest.raises(GraphError, match="cannot be read in opset 11: it is damaged"):
        loaded(two_convs(opset=9), tmp_path)


def test_older_models_are_written_in_newer_operators() -> None:
    after = converted(two_convs(opset=9), 11)
    assert [entry.version for entry in after.opset_import] == [11]
    assert [own.op_type for own in after.graph.node] == ["Conv", "Relu", "Conv"]
    same = two_convs(opset=17)
    assert converted(same, 11).SerializeToString() == same.SerializeToString()


def test_what_is_no_model_is_told_in_a_line() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        answer(b"\xff" * 9, {"opset": 11, "bytes": 1 << 30}, 60)
    assert caught.value.returncode == 1
    assert len(caught.value.stderr.decode().strip().splitlines()) == 1
