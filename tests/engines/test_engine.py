import importlib.util

import pytest
import torch

from tests.engines.tiny import INSTALLED, MODEL
from yoloprune.engines.engine import Engine, Runner
from yoloprune.engines.table import ENGINES, engine_named, run_in
from yoloprune.errors import MissingDependencyError, UsageError


def test_versions_are_those_of_the_packages() -> None:
    assert engine_named("torch").version == torch.__version__
    assert all(ENGINES[name].version for name in INSTALLED)


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


def test_a_runner_gives_its_outputs_by_name() -> None:
    runner = Runner(title="own", outputs=("a", "b"), compute=lambda images: (images, -images))
    found = runner(torch.ones(1))
    assert (list(found), found["b"].item()) == (["a", "b"], -1)


def test_an_engine_computes_what_its_row_says_and_nothing_else() -> None:
    row = Engine(
        name="own",
        title="Own",
        load=lambda model, setup: Runner(title="own", outputs=(), compute=lambda images: ()),
        modules=("torch",),
        install="pip install torch",
        dtypes=(torch.float32, torch.bfloat16),
    )
    usual = row.setup()
    assert (usual.device.type, usual.dtype, usual.batch) == ("cpu", torch.float32, None)
    assert usual.threads == torch.get_num_threads()
    assert row.setup(dtype=torch.bfloat16, threads=3, batch=2).threads == 3
    with pytest.raises(UsageError, match="Own runs on cpu here, not on cuda"):
        row.setup(device=torch.device("cuda"))
    with pytest.raises(UsageError, match="Own computes in float32 or bfloat16 here, not in flo"):
        row.setup(dtype=torch.float64)
    with pytest.raises(UsageError, match="0 threads cannot compute"):
        row.setup(threads=0)
