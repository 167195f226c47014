"""Every engine computes what torch computes, and says what it cannot do."""

from pathlib import Path

import pytest
import torch

from tests.architectures import ARCHITECTURES
from tests.engines.tiny import IMAGES, INSTALLED, MODEL, SPEC, STATE, agree, maps
from tests.random_networks import random_state
from yoloprune.engines.table import run_in
from yoloprune.errors import UsageError
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.zoo import NETWORKS

BUILDERS = NETWORKS | ARCHITECTURES


@pytest.mark.parametrize("engine", INSTALLED)
def test_maps_are_those_of_torch(engine: str) -> None:
    runner = run_in(MODEL, engine, device="cpu", threads=1)
    agree(runner(IMAGES), maps(IMAGES), 1e-5)
    single = run_in(MODEL, engine, device="cpu", threads=1, batch=1)
    found, again = single(IMAGES[:1]), single(IMAGES[1:2])
    # What an engine gave stays as it is when it runs again.
    agree(found, maps(IMAGES[:1]), 1e-5)
    agree(again, maps(IMAGES[1:2]), 1e-5)


@pytest.mark.parametrize("engine", [name for name in INSTALLED if name != "torch"])
@pytest.mark.parametrize("name", ["yolov2", "yolov4-tiny", "yolov7-tiny"])
def test_other_architectures(name: str, engine: str) -> None:
    spec = BUILDERS[name](classes=2, width=0.0625, size=(64, 64))
    network = model(spec, random_state(spec, 3, torch.float32), title=name)
    images = torch.rand(1, *spec.input_shape, generator=torch.Generator().manual_seed(1))
    expected = run_in(network, device="cpu")(images)
    agree(run_in(network, engine, threads=1)(images), expected, 1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_onnx_files(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    export_onnx(SPEC, STATE, path)
    agree(run_in(path, engine, threads=1)(IMAGES), maps(IMAGES), 1e-5)


@pytest.mark.parametrize(
    ("engine", "options", "words"),
    [
        ("tensorrt", {}, r"'tensorrt' is not known: choose one of torch, onnxruntime, openvino"),
        ("onnxruntime", {"dtype": torch.bfloat16}, r"in float32 here, not in bfloat16"),
        ("torch", {"device": "tpu9"}, r"device 'tpu9' is not known: choose one of auto, cpu, cuda"),
        ("torch", {"device": "cuda:99"}, r"cuda:99: torch finds no such GPU"),
        ("torch", {"device": "meta"}, r"on cpu or cuda here, not on meta"),
        ("torch", {"threads": 0}, r"at least 1"),
    ],
)
def test_what_an_engine_cannot_do_is_said(engine: str, options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_in(MODEL, engine, **options)


def test_files_that_an_engine_does_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.onnx: torch reads no files"):
        run_in(tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=r"a\.pt: OpenCV reads files ending in \.cfg, \.onnx"):
        run_in(tmp_path / "a.pt", "opencv")
