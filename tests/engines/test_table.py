"""Every engine computes what torch computes, and says what it cannot do."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.architectures import ARCHITECTURES
from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.engines.table import ENGINES, engine_named, run_in
from yoloprune.errors import GraphError, MissingDependencyError, UsageError
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import NETWORKS, yolov3_tiny
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.builder import GraphBuilder

BUILDERS = NETWORKS | ARCHITECTURES
SPEC = yolov3_tiny(classes=2, width=0.0625, size=(32, 64))
STATE = random_state(SPEC, 1, torch.float32)
MODEL = model(SPEC, STATE, title="tiny")
IMAGES = torch.rand(3, *SPEC.input_shape, generator=torch.Generator().manual_seed(1))
INSTALLED = [name for name, engine in ENGINES.items() if not engine.missing]


def agree(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], share: float) -> None:
    assert list(found) == list(expected)
    for name, theirs in found.items():
        ours = expected[name]
        assert theirs.dtype == torch.float32 and theirs.shape == ours.shape
        assert (theirs - ours).abs().max() <= share * ours.abs().max()


def maps(images: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        found = network_of(SPEC, STATE)(images)
    return {f"head_{head.index}": m for head, m in zip(SPEC.heads, found, strict=True)}


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


def test_bfloat16_is_coarser() -> None:
    found, expected = run_in(MODEL, device="cpu", dtype=torch.bfloat16)(IMAGES), maps(IMAGES)
    agree(found, expected, 0.1)
    assert any((found[name] != expected[name]).any() for name in found)


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv"])
def test_onnx_files(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    export_onnx(SPEC, STATE, path)
    agree(run_in(path, engine, threads=1)(IMAGES), maps(IMAGES), 1e-5)


def test_darknet_files_in_opencv(tmp_path: Path) -> None:
    write_cfg(tmp_path / "net.cfg", SPEC)
    write_weights(tmp_path / "net.weights", SPEC, STATE)
    found = run_in(str(tmp_path / "net.cfg"), "opencv", threads=1)(IMAGES[:1])
    agree(found, maps(IMAGES[:1]), 5e-3)


def test_versions_are_those_of_the_packages() -> None:
    assert engine_named("torch").version == torch.__version__
    assert all(ENGINES[name].version for name in INSTALLED)


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


def test_a_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    gone = {"onnxruntime", "openvino", "ncnn", "numba"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in gone else find(name)
    )
    for engine, words in (
        ("onnxruntime", r"ONNX Runtime needs onnxruntime: pip install 'yoloprune\[export\]'"),
        ("openvino", r"OpenVINO needs openvino: pip install 'yoloprune\[openvino\]'"),
        ("ncnn", r"ncnn needs .*ncnn: pip install 'yoloprune\[ncnn\]'"),
        ("zero-skipping", r"zero-skipping needs numba: pip install 'yoloprune\[sparse\]'"),
    ):
        with pytest.raises(MissingDependencyError, match=words):
            run_in(MODEL, engine)
        with pytest.raises(MissingDependencyError, match="needs"):
            _ = engine_named(engine).version


@pytest.mark.skipif("ncnn" not in INSTALLED, reason="ncnn is not installed")
def test_what_pnnx_misreads_is_refused_for_ncnn(tmp_path: Path) -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 6, 4, 4))
    y = graph.node("chosen", "Gather", x, graph.constant("which", [4, 0, 5]), axis=1)
    built = graph.build({y: (1, 3, 4, 4)})
    (tmp_path / "a.onnx").write_bytes(onnx_model(built, {}).SerializeToString())
    with pytest.raises(GraphError, match=r"ncnn cannot run chosen: .* reads a Gather of several"):
        run_in(tmp_path / "a.onnx", "ncnn")
