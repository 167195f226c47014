from pathlib import Path

import pytest
import torch

from tests.frontends.onnx.models import loaded, residual
from yoloprune.engines.table import run_in


def test_files_of_its_own_are_read_too(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    network = loaded(residual(), tmp_path)
    openvino.save_model(
        openvino.convert_model(tmp_path / "net.onnx"), tmp_path / "net.xml", compress_to_fp16=False
    )
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = run_in(tmp_path / "net.xml", "openvino", threads=1)(images)
    torch.testing.assert_close(found, run_in(network, device="cpu")(images))
