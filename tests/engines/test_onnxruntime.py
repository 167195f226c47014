from pathlib import Path

import numpy as np
import torch
from onnx.reference import ReferenceEvaluator

from tests.frontends.onnx.models import loaded, residual
from yoloprune.engines.engine import Setup
from yoloprune.engines.onnxruntime import load, read, session

SETUP = Setup(device=torch.device("cpu"), dtype=torch.float32, threads=1, batch=None)


def test_a_file_and_a_model_of_it_give_what_onnx_s_reference_gives(tmp_path: Path) -> None:
    proto = residual(("n", 3, 16, 16))
    network = loaded(proto, tmp_path)
    images = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": images})
    for runner in (read(tmp_path / "net.onnx", SETUP), load(network, SETUP)):
        assert (runner.title, runner.outputs) == ("ONNX Runtime", ("y",))
        found = runner(torch.from_numpy(images))["y"]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_session_has_the_threads_that_it_is_told() -> None:
    ready = session(residual().SerializeToString(), threads=2)
    assert ready.get_session_options().intra_op_num_threads == 2
    assert ready.get_providers() == ["CPUExecutionProvider"]
