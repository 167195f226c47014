"""The case study: train, prune, fine-tune, measure and report, resumed where it was stopped."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from time import monotonic
from typing import Any

from yoloprune.data.preprocess import darknet_input
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.exporters.onnx import require_onnx
from yoloprune.frontends.darknet.document import darknet
from yoloprune.report.html import write_report
from yoloprune.report.study import Study
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.config import TRAIN
from yoloprune.training.distributed import World, world
from yoloprune.training.engine import InterruptedRunError, train
from yoloprune.workflows.case_study.collect import read_study
from yoloprune.workflows.case_study.data import read_study_data
from yoloprune.workflows.case_study.networks import Workshop
from yoloprune.workflows.case_study.pipeline import begin, run_stages, stages
from yoloprune.workflows.case_study.settings import PRESETS, StudySettings
from yoloprune.workflows.case_study.subject import Subject, read_subject
from yoloprune.workflows.models import load
from yoloprune.workflows.stages import Stage
from yoloprune.workflows.train import recipe

DEFAULT_PRESET = "cpu"


class TimeIsUpError(Exception):
    """The time limit has passed; calling again resumes the study."""

    def __init__(self, where: str) -> None:
        super().__init__(where)


def case_study(
    data: str | Path,
    out: str | Path,
    *,
    preset: str = DEFAULT_PRESET,
    dense: tuple[Path, Path] | None = None,
    backbone: str | Path | None = None,
    transfer: tuple[Path, Path] | None = None,
    fit_heads: bool = False,
    train_split: str | None = None,
    val_split: str | None = None,
    allow_faulty: bool = False,
    stage: str | None = None,
    minutes: float | None = None,
    device: str = AUTO,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Study:
    """Do a study in the folder `out`, or what is left of it to do, and write its report.

    `data` is a data set, or the original hand_dataset or its archive.
    `settings` are those of `StudySettings` that differ from the preset's, or from those that the
    study was begun with. The dense network is trained from nothing, from a `backbone`'s weights or
    from those of the pair `transfer` whose shapes agree, or is the pair `dense`, which with
    `fit_heads` gets heads for the data. With `stage` only that stage is done, or those with commas
    between them, beside others that other processes may be doing. Raises `TimeIsUpError` after a
    checkpoint once the `minutes` have passed, `InterruptedRunError` on a signal, `UsageError` for
    what makes no sense, `RunError` for another study's folder.
    """
    if sum(start is not None for start in (dense, backbone, transfer)) > 1:
        raise UsageError("give only one of `dense`, `backbone` and `transfer`")
    if fit_heads and dense is None:
        raise UsageError("`fit_heads` is for the network of `dense`: give it too")
    require_onnx()
    out = Path(out)
    with world(device) as here:
        before = read_subject(out)
        # Every process takes a share of a step, unless the run was begun otherwise.
        if before is None and "accumulate" not in settings and here.size > 1:
            settings["accumulate"] = here.size
        known = PRESETS.get(preset)
        if known is None:
            raise UsageError(f"preset {preset!r} is unknown (known: {', '.join(PRESETS)})")
        chosen = _chosen(known if before is None else before.settings, settings)
        if dense is not None:
            network = load(*dense)
            darknet_input(darknet(network).spec)
            chosen = replace(chosen, image_size=recipe(TRAIN, network, {}).image_size)
        subject = Subject(
            preset=preset,
            settings=chosen,
            data=Path(data).resolve(),
            dense=None if dense is None else (dense[0].resolve(), dense[1].resolve()),
            backbone=None if backbone is None else Path(backbone).resolve(),
            transfer=None if transfer is None else (transfer[0].resolve(), transfer[1].resolve()),
            fit_heads=fit_heads,
            train_split=train_split,
            val_split=val_split,
            allow_faulty=allow_faulty,
        )
        told = reporter if here.is_first else SILENT
        if "epochs" in settings and not subject.counts_epochs:
            told.warn(
                "`epochs` is ignored: the network of `dense` is not trained (`fit_heads` does)"
            )
        clock = _Clock(minutes)
        trainer = _Trainer(here, told, clock)
        todo = stages(Workshop(run=out, subject=subject, train=trainer, device=here.device))
        names = [one.name for one in todo]
        wanted = names if stage is None else stage.split(",")
        if unknown := [name for name in wanted if name not in names]:
            raise UsageError(f"stage {unknown[0]!r} is unknown (known: {', '.join(names)})")

        @contextmanager
        def shown(one: Stage) -> Iterator[None]:
            if here.agree(clock.is_late()):
                raise TimeIsUpError(f"before stage {one.name}")
            told.say(f"{names.index(one.name) + 1}/{len(names)} {one.name}")
            # Training has a bar of its own.
            with nullcontext() if one.kind == "training" else told.stage(one.name):
                yield
            if here.is_first and one.name == "data":
                for line in read_study_data(out).warnings:
                    told.warn(line)

        # Stages that are asked for one by one may be worked on side by side: each folder is held.
        with here.locked(out) if stage is None else nullcontext():
            here.on_first(lambda: begin(out, subject, todo))
            run_stages([one for one in todo if one.name in wanted], out, here, shown)
            return report(out) if here.is_first else read_study(out)


def report(run: str | Path) -> Study:
    """Write the report of a study from its finished stages; raises `RunError` if it is none."""
    study = read_study(Path(run))
    write_report(Path(run), study)
    return study


def _chosen(base: StudySettings, settings: dict[str, Any]) -> StudySettings:
    """The settings that there are, and those that were chosen otherwise."""
    known = {field.name for field in fields(base)}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UsageError(f"setting {unknown[0]!r} of a study is unknown")
    controls = dict.fromkeys([*base.controls, *settings.get("controls", ())])
    return replace(base, **{**settings, "controls": tuple(controls)})


class _Clock:
    """Whether the time is up."""

    def __init__(self, minutes: float | None) -> None:
        self.deadline = None if minutes is None else monotonic() + 60 * minutes

    def is_late(self) -> bool:
        """Whether the limit has passed."""
        return self.deadline is not None and monotonic() > self.deadline


class _Trainer:
    """Trains until the time is up."""

    def __init__(self, here: World, reporter: Reporter, clock: _Clock) -> None:
        self.here, self.reporter, self.clock = here, reporter, clock

    def __call__(self, *network: Any, **options: Any) -> None:
        """Train a network into its run folder."""
        try:
            train(
                *network,
                world=self.here,
                reporter=self.reporter,
                stop=self.clock.is_late,
                **options,
            )
        except InterruptedRunError:
            # All processes have stopped together: the clock of one may have been the reason.
            if self.here.agree(self.clock.is_late()):
                raise TimeIsUpError(f"in {options['run']}") from None
            raise
