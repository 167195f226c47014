"""The order in which the program is asked, by one that stands for it: it need not be installed."""

import sys
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from yoloprune.workflows.comparison.onnxsim import ONNXSIM, thin


def test_the_simplified_file_loses_the_share(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simple, slim = onnx.ModelProto(), onnx.ModelProto()

    def simplify(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        assert proto == onnx.load(net)
        return simple, True

    def prune(proto: onnx.ModelProto, *, sparsity: float) -> onnx.ModelProto:
        assert proto is simple and sparsity == 0.25
        return slim

    program = SimpleNamespace(simplify=simplify, apply_structured_pruning=prune)
    monkeypatch.setitem(sys.modules, "onnxsim", program)
    assert thin(net, 0.25, 1) is slim
    assert ONNXSIM.modules == ("onnx", "onnxsim")
