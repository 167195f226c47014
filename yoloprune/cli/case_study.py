"""`yoloprune case-study` and `report`: from a data set to a report in one command."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.case_study.collect import read_study
from yoloprune.case_study.networks import Workshop
from yoloprune.case_study.pipeline import begin, run_stages, stages
from yoloprune.case_study.settings import CONTROLS, PRESETS, StudySettings
from yoloprune.cli.console import Quiet, errors, output, print_table
from yoloprune.cli.console import stage as shown_stage
from yoloprune.cli.training import Precision, Seed, shown_training, training_side
from yoloprune.darknet.parser import read_cfg
from yoloprune.errors import PlanError
from yoloprune.report.html import REPORTS, write_report
from yoloprune.report.results import results_table
from yoloprune.training.distributed import World, world

TIME_IS_UP = 3
"""Exit code when --time-limit stopped a study that is not finished."""


def case_study(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the study.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data set, or the original hand_dataset or its archive."),
    ] = None,
    preset: Annotated[str, typer.Option("--preset", help=", ".join(PRESETS))] = "cpu",
    dense: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--dense", metavar="CFG WEIGHTS", help="Start from this trained network."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="Train from the first layers' weights.")
    ] = None,
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
    precision: Precision | None = None,
    stage: Annotated[
        str | None, typer.Option("--stage", metavar="NAME", help="Do this stage only.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="MINUTES", min=0, help="Stop after a checkpoint."),
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Train, prune, fine-tune, measure and report; run again to go on after a stop."""
    strength, sparsity_epochs = sparsity or (None, None)
    settings = _settings(
        preset,
        epochs=epochs,
        finetune_epochs=finetune_epochs,
        keep_macs=keep_macs,
        sparsity=strength,
        sparsity_epochs=sparsity_epochs,
        precision=precision,
        controls=tuple(dict.fromkeys(control or [])),
        seed=seed,
    )
    if dense is not None:
        settings = replace(settings, image_size=training_side(read_cfg(dense[0]), None))
    if dense is not None and backbone is not None:
        raise PlanError("give --dense or --backbone, not both")
    deadline = None if time_limit is None else time.monotonic() + 60 * time_limit
    with world() as here:
        workshop = Workshop(
            run=out,
            settings=settings,
            train=_Trainer(here, quiet, deadline),
            dense=dense,
            backbone=backbone,
        )
        todo = stages(workshop, data)
        names = [known.name for known in todo]
        if stage is not None and stage not in names:
            raise PlanError(f"stage {stage!r} is unknown (known: {', '.join(names)})")
        if data is None and settings.rendered is None:
            raise PlanError(
                f"preset {preset} needs --data: a data set, or the original hand_dataset"
            )
        here.on_first(lambda: begin(workshop, preset, data))
        chosen = [known for known in todo if stage in (None, known.name)]

        @contextmanager
        def shown(name: str) -> Iterator[None]:
            if deadline is not None and here.agree(time.monotonic() > deadline):
                _time_is_up(out, name)
            if here.is_first and not quiet:
                errors.print(f"{names.index(name) + 1}/{len(names)} {name}")
            # Training has a bar of its own.
            training = any(known.collective for known in todo if known.name == name)
            with shown_stage(name, quiet or training or not here.is_first):
                yield

        run_stages(chosen, out, here, shown)
        if here.is_first:
            _report(out)


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a case study.")],
) -> None:
    """Write the report of a case study anew, of as much as is finished."""
    _report(run)


def _settings(preset: str, **chosen: Any) -> StudySettings:
    """The preset, with what was chosen otherwise: all that is not None."""
    if preset not in PRESETS:
        raise PlanError(f"preset {preset!r} is unknown (known: {', '.join(PRESETS)})")
    return replace(
        PRESETS[preset], **{name: value for name, value in chosen.items() if value is not None}
    )


class _Trainer:
    """Trains with a progress bar, until the time is up."""

    def __init__(self, here: World, quiet: bool, deadline: float | None) -> None:
        self.here, self.quiet, self.deadline = here, quiet, deadline

    def __call__(self, *network: Any, **options: Any) -> None:
        """Train a network into its run folder."""
        try:
            shown_training(
                *network,
                here=self.here,
                quiet=self.quiet,
                stop=self._is_late,
                how_to_go_on="run the same command again",
                **options,
            )
        except typer.Exit:
            if self._is_late():
                raise typer.Exit(TIME_IS_UP) from None
            raise

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


def _time_is_up(out: Path, name: str) -> None:
    errors.print(f"time is up before stage {name}: run the same command again to go on in {out}")
    raise typer.Exit(TIME_IS_UP)


def _report(run: Path) -> None:
    study = read_study(run)
    write_report(run, study)
    table = results_table(study)
    print_table(study.title, table.header, table.rows)
    output.print(f"wrote {', '.join(str(run / name) for name in REPORTS)}")
