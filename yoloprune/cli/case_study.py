"""`yoloprune case-study` and `report`: from a data set to a report in one command."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from yoloprune.case_study.collect import read_study
from yoloprune.case_study.data import read_study_data
from yoloprune.case_study.networks import Workshop
from yoloprune.case_study.pipeline import begin, run_stages, stages
from yoloprune.case_study.settings import CONTROLS, PRESETS, StudySettings
from yoloprune.case_study.subject import Subject, read_subject
from yoloprune.cli.console import ConsoleReporter, Quiet, errors, output, print_table
from yoloprune.cli.export import Decode
from yoloprune.cli.labelled import AllowFaulty
from yoloprune.cli.training import Precision, stoppable, training_size
from yoloprune.cli.training_data import TrainSplit, fitting_named
from yoloprune.darknet.parser import read_cfg
from yoloprune.data.images import image_channels
from yoloprune.errors import UsageError
from yoloprune.export.onnx import require_onnx
from yoloprune.pruning.importance import CRITERIA
from yoloprune.report.html import REPORTS, write_report
from yoloprune.report.results import results_table
from yoloprune.reporter import Reporter
from yoloprune.training.distributed import World, world
from yoloprune.training.engine import train

TIME_IS_UP = 3
"""Exit code when --time-limit stopped a study that is not finished."""


def case_study(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the study.")],
    data: Annotated[
        Path,
        typer.Option("--data", help="Data set, or the original hand_dataset or its archive."),
    ],
    preset: Annotated[str, typer.Option("--preset", help=", ".join(PRESETS))] = "cpu",
    dense: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--dense", metavar="CFG WEIGHTS", help="Start from this trained network."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="Train from the first layers' weights.")
    ] = None,
    fit_heads: Annotated[
        bool,
        typer.Option(
            "--fit-heads", help="Make heads of --dense that fit the data, and train it first."
        ),
    ] = False,
    train_split: TrainSplit = None,
    val_split: Annotated[
        str | None,
        typer.Option(
            "--val-split",
            metavar="NAME",
            help="To choose the best epoch by.",
            show_default="held out of the training images",
        ),
    ] = None,
    allow_faulty: AllowFaulty = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="Length of training from random weights.",
            show_default="the preset's",
        ),
    ] = None,
    finetune_epochs: Annotated[
        int | None,
        typer.Option(
            "--finetune-epochs",
            min=1,
            help="Length of fine-tuning.",
            show_default="the preset's",
        ),
    ] = None,
    keep_macs: Annotated[
        float | None,
        typer.Option("--keep-macs", help="Share of the MACs to keep.", show_default="the preset's"),
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            help=f"What channels are cut by: {', '.join(CRITERIA)}.",
            show_default="the preset's, or bn-scale after --sparsity",
        ),
    ] = None,
    sparsity: Annotated[
        tuple[float, int] | None,
        typer.Option(
            "--sparsity",
            metavar="S EPOCHS",
            help="Train with this group lasso for so long before pruning.",
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", help=f"Make this control too: {', '.join(CONTROLS)}."),
    ] = None,
    decode: Decode = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            "--accumulate",
            min=1,
            help="Micro-batches per step, over all processes.",
            show_default="one a process",
        ),
    ] = None,
    precision: Precision | None = None,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="NAME", help="Do this stage only.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="MINUTES", min=0, help="Stop after a checkpoint."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**63 - 1, help="Seed of everything random.", show_default="0"
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train, prune, fine-tune, measure and report; run again to go on after a stop."""
    if dense is not None and backbone is not None:
        raise UsageError("give --dense or --backbone, not both")
    if fit_heads and dense is None:
        raise UsageError("--fit-heads is for the network of --dense: give it too")
    require_onnx()
    reporter = ConsoleReporter(quiet=quiet)
    strength, sparsity_epochs = sparsity or (None, None)
    if sparsity is not None and criterion is None:
        criterion = "bn-scale"
    with world() as here:
        before = read_subject(out)
        # Every process takes a share of a step, unless the run was begun otherwise.
        if before is None and accumulate is None and here.size > 1:
            accumulate = here.size
        settings = _settings(
            PRESETS.get(preset) if before is None else before.settings,
            preset,
            control or [],
            epochs=epochs,
            finetune_epochs=finetune_epochs,
            keep_macs=keep_macs,
            criterion=criterion,
            sparsity=strength,
            sparsity_epochs=sparsity_epochs,
            accumulate=accumulate,
            precision=precision,
            decoded=decode,
            seed=seed,
        )
        if dense is not None:
            spec = read_cfg(dense[0])
            image_channels(spec)
            settings = replace(settings, image_size=training_size(spec, None))
        subject = Subject(
            preset=preset,
            settings=settings,
            data=data.resolve(),
            dense=None if dense is None else (dense[0].resolve(), dense[1].resolve()),
            backbone=None if backbone is None else backbone.resolve(),
            fit_heads=fit_heads,
            train_split=train_split,
            val_split=val_split,
            allow_faulty=allow_faulty,
        )
        clock = _Clock(time_limit)
        todo = stages(Workshop(run=out, subject=subject, train=_Trainer(here, reporter, clock)))
        names = [known.name for known in todo]
        if stage is not None and stage not in names:
            raise UsageError(f"stage {stage!r} is unknown (known: {', '.join(names)})")

        @contextmanager
        def shown(name: str) -> Iterator[None]:
            if here.agree(clock.is_late()):
                _time_is_up(out, name)
            if here.is_first:
                reporter.say(f"{names.index(name) + 1}/{len(names)} {name}")
            # Training has a bar of its own.
            training = any(known.kind == "training" for known in todo if known.name == name)
            silent = training or not here.is_first
            with nullcontext() if silent else reporter.stage(name):
                yield
            if here.is_first and name == "data":
                for line in read_study_data(out).warnings:
                    reporter.warn(line)

        with here.locked(out), fitting_named():
            here.on_first(lambda: begin(out, subject, todo))
            run_stages([known for known in todo if stage in (None, known.name)], out, here, shown)
            if here.is_first:
                _report(out)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a case study.")],
) -> None:
    """Write the report of a case study anew, of as much as is finished."""
    _report(run)


def _settings(
    base: StudySettings | None, preset: str, controls: list[str], **chosen: Any
) -> StudySettings:
    """The preset or what the run was begun with, and what was chosen otherwise: all but None."""
    if base is None or preset not in PRESETS:
        raise UsageError(f"preset {preset!r} is unknown (known: {', '.join(PRESETS)})")
    changes = {name: value for name, value in chosen.items() if value is not None}
    changes["controls"] = tuple(dict.fromkeys([*base.controls, *controls]))
    return replace(base, **changes)


class _Clock:
    """Whether the time is up."""

    def __init__(self, minutes: float | None) -> None:
        self.deadline = None if minutes is None else monotonic() + 60 * minutes

    def is_late(self) -> bool:
        """Whether the limit has passed."""
        return self.deadline is not None and monotonic() > self.deadline


class _Trainer:
    """Trains with a progress bar, until the time is up."""

    def __init__(self, here: World, reporter: Reporter, clock: _Clock) -> None:
        self.here, self.reporter, self.clock = here, reporter, clock

    def __call__(self, *network: Any, **options: Any) -> None:
        """Train a network into its run folder."""
        try:
            with stoppable(options["run"], self.here, "run the same command again"):
                train(
                    *network,
                    world=self.here,
                    reporter=self.reporter,
                    stop=self.clock.is_late,
                    **options,
                )
        except typer.Exit:
            # All processes have stopped together: the clock of one may have been the reason.
            if self.here.agree(self.clock.is_late()):
                raise typer.Exit(TIME_IS_UP) from None
            raise


def _time_is_up(out: Path, name: str) -> None:
    errors.print(f"time is up before stage {name}: run the same command again to go on in {out}")
    raise typer.Exit(TIME_IS_UP)


def _report(run: Path) -> None:
    study = read_study(run)
    write_report(run, study)
    table = results_table(study)
    print_table(study.title, table.header, table.rows)
    output.print(f"wrote {', '.join(str(run / name) for name in REPORTS)}")
