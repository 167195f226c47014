"""Two processes do what one does with the same batches, and agree on everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.processes import in_ranks, program
from tests.training.runs import ALONE, trained
from yoloprune.errors import DatasetError
from yoloprune.training import engine
from yoloprune.training.distributed import world
from yoloprune.training.loop import Loop


def compared(data: Path, out: Path, found: Path) -> None:
    """Train in one of several processes, and write down how far apart their tensors are."""
    with world() as here:
        loops: list[Loop] = []
        finish = engine._finish_epoch
        engine._finish_epoch = lambda loop, *rest: (loops.append(loop), finish(loop, *rest))
        trained(data, out, here)
        tensors = [
            *loops[-1].network.state_dict().values(),
            *loops[-1].average.state_dict().values(),
        ]
        values = torch.cat([tensor.double().flatten() for tensor in tensors])
        low, high = values.clone(), values.clone()
        torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
        if here.is_first:
            apart = float((high - low).abs().max())
            found.write_text(json.dumps({"size": here.size, "apart": apart}))


FIRST = """
import sys
from yoloprune.cli import main
from yoloprune.errors import DatasetError
from yoloprune.training import engine
from yoloprune.training.distributed import world

def command() -> None:
    with world() as here:
        found = here.on_first(lambda: {"rank": here.rank})
        assert found == {"rank": 0}, found
        def fail() -> None:
            assert here.is_first
            raise DatasetError("the disk of the first process is full")
        if sys.argv[1] == "first":
            here.on_first(fail)
        elif here.rank == 1:
            raise DatasetError("second: found by 1")
        here.total([0.0])

main.app.command()(command)
main.app(["command"])
"""


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_have_the_loss_curve_of_one(data: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    for done in in_ranks(2, compared, data, tmp_path / "two", found):
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
    result = json.loads(found.read_text())
    # Weights, and so the scales that are exactly 0 and any plan made of them, are the same bits;
    # so are the batch norms' statistics, of which the first process writes its own.
    assert result == {"size": 2, "apart": 0.0}

    log = trained(data, tmp_path / "one", ALONE)
    assert 0 < log[-1]["zero_channels"] < 1
    lines = [json.loads(x) for x in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    for one, two in zip(log, lines, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert two["zero_channels"] == pytest.approx(one["zero_channels"], abs=0.02)


def test_an_error_is_told_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FIRST)
    first, second = in_ranks(2, program, script, "first")
    assert first.returncode and second.returncode
    assert first.stderr == "error: the disk of the first process is full\n"
    assert second.stderr == ""


def test_an_error_of_one_process_is_told_once_by_torchrun(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FIRST)
    found = torchrun(script, "second")
    assert found.returncode != 0
    told = [x for x in found.stderr.splitlines() if x.startswith("error: ")]
    assert told == ["error: second: found by 1"]
    assert found.stderr.count("Traceback") == 1  # torchrun's own.


def test_alone_the_first_is_the_only_one() -> None:
    with world() as here:
        assert here.on_first(lambda: 3) == 3
        with pytest.raises(DatasetError):
            here.on_first(lambda: (_ for _ in ()).throw(DatasetError("bad data")))
