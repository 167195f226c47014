"""Two processes do what one does with the same batches, and agree on everything."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from training.painted import paint
from training.test_engine import CONFIG, run

SCRIPT = """
import hashlib, json, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
torch.set_num_threads(1)
from training.test_engine import CONFIG, SPEC
from yoloprune.datasets.labels import read_dataset
from yoloprune.model.initialization import training_state
from yoloprune.training import engine
from yoloprune.training.distributed import world

config = replace(CONFIG, accumulate=2, sparsity=0.5, evaluate_every=2)
with world() as here:
    loops = []
    finish = engine._finish_epoch
    engine._finish_epoch = lambda loop, *rest: (loops.append(loop), finish(loop, *rest))
    data = Path(sys.argv[1])
    engine.train(
        SPEC, training_state(SPEC), training=read_dataset(data, classes=1, split="train"),
        validation=read_dataset(data, classes=1, split="test"), config=config,
        run=Path(sys.argv[2]), world=here,
    )
    weights = torch.cat([p.detach().flatten() for p in loops[-1].network.parameters()])
    low, high = weights.clone(), weights.clone()
    torch.distributed.all_reduce(low, torch.distributed.ReduceOp.MIN)
    torch.distributed.all_reduce(high, torch.distributed.ReduceOp.MAX)
    apart = float((high - low).abs().max())
    if here.is_first:
        print(json.dumps({"size": here.size, "apart": apart}))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint(tmp_path_factory.mktemp("painted"), train=48, test=16)


def test_two_processes_have_the_loss_curve_of_one(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(script), str(data), str(tmp_path / "two"), tests],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    result = json.loads(found.stdout.splitlines()[-1])
    # Weights, and so the scales that are exactly 0 and any plan made of them, are the same bits.
    assert result == {"size": 2, "apart": 0.0}

    config = replace(CONFIG, accumulate=2, sparsity=0.5, evaluate_every=2)
    log = run(data, tmp_path / "one", config)
    lines = [json.loads(x) for x in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    for one, two in zip(log, lines, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert two["zero_channels"] == pytest.approx(one["zero_channels"], abs=0.02)
