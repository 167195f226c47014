"""A module pruned in steps by its own training."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.modules import Plain, noisy
from yoloprune.errors import PlanError, RunError, UsageError
from yoloprune.workflows import iterate_module as iterating
from yoloprune.workflows.iterate import SCHEDULE, Iterated
from yoloprune.workflows.iterate_module import iterate_module
from yoloprune.workflows.modules import load_slim

X = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Trainer:
    """Trains towards the dense module's scores; fails before step `fails`."""

    def __init__(self, fails: int = 9) -> None:
        self.fails = fails
        self.steps: list[int] = []
        self.modes: list[bool] = []
        with torch.no_grad():
            self.wanted = noisy(Plain())(X)

    def finetune(self, module: nn.Module, number: int) -> None:
        if number == self.fails:
            raise KeyboardInterrupt
        self.steps.append(number)
        self.modes += [own.training for own in module.modules()]
        optimizer = torch.optim.SGD(module.parameters(), 0.01)
        for _ in range(3):
            optimizer.zero_grad()
            (module(X) - self.wanted).square().mean().backward()
            optimizer.step()

    def evaluate(self, module: nn.Module) -> float:
        assert not any(own.training for own in module.modules())
        with torch.no_grad():
            return 1 - float((module(X) - self.wanted).square().mean())

    def run(self, out: Path, **settings: object) -> Iterated:
        return iterate_module(
            noisy(Plain()), X[:1], out, finetune=self.finetune, evaluate=self.evaluate,
            keep_macs=0.6, step=0.2, **settings,
        )  # fmt: skip


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same(tmp_path: Path) -> None:
    loads = []
    own = iterating.load_module

    def once(*args: object, **settings: object) -> object:
        # Exported once: it takes seconds.
        if not loads:
            loads.append(own(*args, **settings))  # type: ignore[arg-type]
        return loads[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterating, "load_module", once)
        whole = Trainer()
        found = whole.run(tmp_path / "whole")
        assert whole.steps == [1, 2]
        assert all(whole.modes)
        assert found.accuracies[0] == 1
        assert found.kept[2] <= 0.6 < found.kept[1] <= 0.8
        with pytest.raises(KeyboardInterrupt):
            Trainer(fails=2).run(tmp_path / "killed")
        with pytest.raises(RunError, match="give `resume`"):
            Trainer().run(tmp_path / "killed")
        rest = Trainer()
        rest.run(tmp_path / "killed", resume=True)
        assert rest.steps == [2]
        for name in ("best.safetensors", "best.json", "step-02/slim.safetensors"):
            paths = [tmp_path / run / name for run in ("whole", "killed")]
            assert paths[0].read_bytes() == paths[1].read_bytes()
        with pytest.raises(PlanError, match="under `floor` 2"):
            Trainer().run(tmp_path / "high", floor=2.0)
        refitted = Trainer().run(tmp_path / "refitted", calibration=X, reconstruct=True)
        assert refitted.kept[2] <= 0.6
        run = json.loads((tmp_path / "refitted" / SCHEDULE).read_text())
        assert run["criterion"] == "reconstruction"
    slim = load_slim(Plain(), tmp_path / "whole" / "best.safetensors").eval()
    assert whole.evaluate(slim) == found.accuracies[2]


def test_a_refit_needs_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`calibration`"):
        Trainer().run(tmp_path / "out", reconstruct=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("asked", ["finetune", "evaluate"])
def test_what_the_callables_may_not_do_is_told_and_leaves_no_step(
    asked: str, tmp_path: Path
) -> None:
    trainer = Trainer()

    def rebuilt(module: nn.Module, number: int) -> None:
        module.register_buffer("counter", torch.zeros(3))

    if asked == "finetune":
        trainer.finetune = rebuilt  # type: ignore[method-assign]
        said = "`finetune` changed what the module is, by its counter"
    else:
        trainer.evaluate = lambda module: None  # type: ignore[method-assign,assignment,return-value]
        said = "`evaluate` gave a NoneType, where one number is needed"
    with pytest.raises(UsageError, match=said):
        trainer.run(tmp_path / "run")
    again = Trainer().run(tmp_path / "run", resume=True)
    assert again.kept[2] <= 0.6
