from pathlib import Path

import torch

from tests.engines.tiny import IMAGES, SPEC, STATE, agree, maps
from yoloprune.engines.table import run_in
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights


def test_darknet_files_in_opencv(tmp_path: Path) -> None:
    write_cfg(tmp_path / "net.cfg", SPEC)
    write_weights(tmp_path / "net.weights", SPEC, STATE)
    found = run_in(str(tmp_path / "net.cfg"), "opencv", threads=1)(IMAGES[:1])
    agree(found, maps(IMAGES[:1]), 5e-3)


def test_what_it_gave_stays_as_it_is(tmp_path: Path) -> None:
    export_onnx(SPEC, STATE, tmp_path / "net.onnx")
    runner = run_in(tmp_path / "net.onnx", "opencv", threads=1)
    first = runner(IMAGES)
    runner(torch.zeros_like(IMAGES))
    agree(first, maps(IMAGES), 1e-5)
