"""How the tests run everywhere."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from yoloprune.data.images import write_image
from yoloprune.engines.benchmark import default_engines
from yoloprune.files import write_text
from yoloprune.pruning.solve import USUAL_MULTIPLE
from yoloprune.workflows.rounding import quantum_file

# The tests' networks are tiny: threads that wait for each other cost more than they compute.
torch.set_num_threads(1)
settings.register_profile("local", deadline=None)
# The same examples on every run, so that a landing is judged by its change alone.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Modules are a million objects and none of them garbage; what tests leave in cycles is little.
gc.disable()
gc.set_threshold(50_000)


@pytest.fixture(scope="module", autouse=True)
def _little_to_look_through() -> None:
    """Look for garbage only among what a file's tests make: all before them stays to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _usual_multiple(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache in which all engines want the same channel counts, whatever processor this is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in default_engines():
            quantum_file(name).parent.mkdir(parents=True, exist_ok=True)
            write_text(quantum_file(name), f"{USUAL_MULTIPLE}\n")
        yield


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images, and a thirteenth that is damaged."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_image(folder / f"{number:02}.png", pixels.repeat(8, axis=0).repeat(8, axis=1))
    (folder / "damaged.png").write_bytes(b"not an image")
    return folder


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A small network in an ONNX file."""
    # Here, for most tests read none.
    import onnx

    from tests.frontends.onnx.models import residual

    onnx.save_model(residual(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"
