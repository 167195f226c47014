import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.color_detector import color_spec, color_state
from tests.frontends.onnx.models import residual
from yoloprune.engines import agreement
from yoloprune.engines.agreement import LEAST, check_engine, largest_difference
from yoloprune.engines.engine import Runner
from yoloprune.errors import VerificationError
from yoloprune.frontends.darknet.document import model
from yoloprune.workflows.models import load


def test_engines_are_given_the_file_whatever_its_batch(tmp_path: Path) -> None:
    onnx.save_model(residual(("n", 3, "h", "w")), tmp_path / "net.onnx")
    network = load(tmp_path / "net.onnx")
    assert check_engine(network, "onnxruntime") < 1e-5


def test_outputs_that_are_faint_are_compared_by_what_engines_can_tell(tmp_path: Path) -> None:
    """ONNX Runtime's logistic of -14 is 8e-7 off by 1e-7 or so, which is no fault of the file."""
    proto = residual()
    far = onnx.helper.make_node("Sub", ["f", "much"], ["far"])
    proto.graph.node.insert(len(proto.graph.node) - 1, far)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([14]), "much"))
    proto.graph.node[-1].input[0] = "far"
    onnx.save_model(proto, tmp_path / "net.onnx")
    assert check_engine(load(tmp_path / "net.onnx"), "onnxruntime") < 1e-3


def test_differences_are_relative_to_the_largest_value_of_each_output() -> None:
    expected = {"a": torch.tensor([4.0, -8.0]), "b": torch.tensor([1e-6])}
    found = {"a": torch.tensor([5.0, -8.0]), "b": torch.tensor([2e-6])}
    assert largest_difference(found, expected) == 1 / 8
    assert largest_difference({"b": found["b"]}, expected) == pytest.approx(1e-6 / LEAST)
    assert math.isnan(largest_difference({"a": torch.tensor([math.nan, 0])}, expected))
    with pytest.raises(KeyError):
        largest_difference({"c": found["a"]}, expected)


def test_an_engine_that_computes_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_in(network: object, engine: str = "torch", device: str = "auto") -> Runner:
        scale = 1.0 if engine == "torch" else 1.01
        return Runner(title=engine, outputs=("y",), compute=lambda images: (scale * images,))

    network = model(color_spec(), color_state(), title="net")
    monkeypatch.setattr(agreement, "run_in", run_in)
    assert agreement.check_engine(network, "torch") == 0
    with pytest.raises(VerificationError, match=r"OpenCV differs from torch by 0\.01 of an output"):
        agreement.check_engine(network, "opencv")
