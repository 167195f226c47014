"""Runs that hit a wall: too little memory, a full disk. One line, and nothing is lost."""

import ctypes
import errno
import os
import resource
import sys
from pathlib import Path

import pytest
import torch

from tests.processes import Outcome, outcome
from tests.reporters import Heard
from tests.training.painted import paint
from tests.training.runs import SPEC, run
from yoloprune.cli.main import app
from yoloprune.errors import RunError
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.training.config import TrainingConfig

# Of malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), train=64, test=4)


def limited(limit: str, amount: int, *arguments: object) -> Outcome:
    """Run the command line with so many bytes of memory more, or with files no larger than that."""
    return outcome(_limited, limit, amount, list(map(str, arguments)))


def _limited(limit: str, amount: int, arguments: list[str]) -> None:
    # Read before: OpenBLAS, which comes with their scipy, waits for memory for ever.
    import albumentations  # noqa: F401

    if limit == "RLIMIT_AS":
        # glibc then gives back what was freed, whatever was allocated beside it.
        libc = ctypes.CDLL(None)
        assert libc.mallopt(M_MMAP_THRESHOLD, 128 << 10) and libc.mallopt(M_ARENA_MAX, 1)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        amount += pages * resource.getpagesize()
    resource.setrlimit(getattr(resource, limit), (amount, amount))
    sys.argv = ["yoloprune", *arguments]
    app()


def test_a_batch_that_memory_does_not_hold_names_one_that_it_does(
    data: Path, tmp_path: Path
) -> None:
    write_cfg(tmp_path / "net.cfg", SPEC)
    found = limited(
        "RLIMIT_AS", 800 << 20, "train", tmp_path / "net.cfg", "--data", data, "--out",
        tmp_path / "run", "--batch-size", 64, "--image-size", 512, "--workers", 0,
    )  # fmt: skip
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert line.startswith("error: out of memory with 64 images of 512x512 at once; ")
    fits = int(line.split("; ")[1].split()[0])
    assert 1 <= fits < 64
    assert f"--batch-size {fits}, or --accumulate {64 // fits} " in line


def test_an_optimizer_that_memory_does_not_hold(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: torch.optim.SGD, closure: None = None) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.SGD, "step", fail)
    with pytest.raises(RunError, match="out of memory for the optimizer"):
        run(data, tmp_path, TrainingConfig(epochs=1, batch_size=16, image_size=64, workers=0))


def test_a_full_disk_is_one_line_and_the_checkpoint_before_it_stays(
    data: Path, tmp_path: Path
) -> None:
    config = TrainingConfig(epochs=2, batch_size=16, image_size=64, workers=0)
    out = tmp_path / "run"

    def stop(line: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(data, out, config, reporter=Heard(on_line=stop))
    before = (out / "last.pt").read_bytes()
    names = {path.name for path in out.iterdir()}
    write_cfg(tmp_path / "net.cfg", SPEC)
    found = limited(
        "RLIMIT_FSIZE", len(before) // 2, "train", tmp_path / "net.cfg", "--data", data, "--out",
        out, "--epochs", 2, "--batch-size", 16, "--workers", 0, "--resume",
    )  # fmt: skip
    assert found.returncode == 2, found.stderr
    (line,) = found.stderr.splitlines()
    assert line == f"error: {out / 'last.pt'}: {os.strerror(errno.EFBIG)}"
    assert (out / "last.pt").read_bytes() == before
    # The curves are drawn in a thread of their own, and those of the first run after it stopped.
    kept = {path.name for path in out.iterdir()} - {"curves.png"}
    assert kept <= names | {"last.cfg", "last.weights"}
    assert len(run(data, out, config, resume=True)) == 2
