"""The stages between the original and the network that is fine-tuned, by name, in their order."""

from dataclasses import dataclass
from pathlib import Path

from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.steps import step_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A cut to this share of the original's MACs, trained before the next one.

    `source`, `cut` and `trained` are the stages whose networks these are.
    """

    number: int
    share: float
    source: str
    cut: str
    trained: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How channels go by a criterion, at once or in `steps` and a last cut, and what follows.

    `source` is the stage whose network the last cut is made of; None is what is left out.
    """

    criterion: str
    steps: tuple[Step, ...]
    source: str
    pruned: str
    refitted: str | None
    distilled: str | None

    @property
    def recovered(self) -> str:
        """The stage whose network is fine-tuned."""
        return self.distilled or self.refitted or self.pruned

    @property
    def intermediate(self) -> tuple[str, ...]:
        """The stages of the steps before the last cut."""
        return tuple(stage for step in self.steps for stage in (step.cut, step.trained))

    @property
    def cuts(self) -> tuple[str, ...]:
        """The stages that remove channels."""
        return (*(step.cut for step in self.steps), self.pruned)

    @property
    def stages(self) -> tuple[str, ...]:
        """All of its stages."""
        last = (self.pruned, self.refitted, self.distilled)
        return (*self.intermediate, *(stage for stage in last if stage is not None))


def outcome_chain(settings: StudySettings) -> Chain:
    """Of the network that the study is about."""
    return _chain(settings, settings.criterion, "")


def random_chain(settings: StudySettings) -> Chain:
    """Of the control `random`, which is made alike."""
    return _chain(settings, "random", "random-")


def _chain(settings: StudySettings, criterion: str, prefix: str) -> Chain:
    source, steps = "sparse" if settings.sparsity else "dense", []
    for number, share in enumerate(settings.targets[:-1], 1):
        cut = f"{prefix}{step_folder(number)}"
        step = Step(number=number, share=share, source=source, cut=cut, trained=f"{cut}-trained")
        steps.append(step)
        source = step.trained
    return Chain(
        criterion=criterion,
        steps=tuple(steps),
        source=source,
        pruned=f"{prefix}pruned",
        refitted=f"{prefix}refitted" if settings.refit else None,
        distilled=f"{prefix}distilled" if settings.distill_steps else None,
    )


def stage_macs(run: Path, stage: str) -> int:
    """MACs of the network that a finished training stage left: its weights are not read."""
    return cost(read_cfg(run / stage / "best.cfg")).macs


def share_left(run: Path, stage: str, share: float) -> float:
    """The share of its own MACs that a stage's network keeps at a share of the original's."""
    if stage in ("dense", "sparse"):
        return share
    return min(1.0, share / (stage_macs(run, stage) / stage_macs(run, "dense")))
