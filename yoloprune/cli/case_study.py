"""`yoloprune case-study` and `report`: from a data set to a report in one command."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, errors, print_result
from yoloprune.cli.engine_options import DecoderName, Device, PreprocessText
from yoloprune.cli.export import Decode
from yoloprune.cli.networks import network_and_folder
from yoloprune.cli.options import (
    LARGEST_SEED,
    AllowFaulty,
    CalibrationImages,
    Json,
    Quiet,
    TrainSplit,
)
from yoloprune.cli.training import training_errors
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.pruning.score.on_weights import CRITERIA, MEASURED_CRITERIA
from yoloprune.report.html import REPORTS
from yoloprune.report.markdown import report_json
from yoloprune.report.results import results_table
from yoloprune.report.shown import Shown
from yoloprune.report.study import Study
from yoloprune.training.peers import is_first
from yoloprune.workflows.case_study.seeds import read_seeds
from yoloprune.workflows.case_study.settings import CONTROLS, PRESETS
from yoloprune.workflows.case_study.study import DEFAULT_PRESET, TimeIsUpError
from yoloprune.workflows.case_study.study import case_study as do_study
from yoloprune.workflows.case_study.study import report as write_report
from yoloprune.workflows.case_study.subject import SUBJECT
from yoloprune.workflows.cut import PAGE
from yoloprune.workflows.report import write_page

TIME_IS_UP = 3
"""Exit code when --time-limit stopped a study that is not finished."""

_PRESETS = "the preset's"


def case_study(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the study.")],
    data: Annotated[
        Path,
        typer.Option("--data", help="Data set, or the original hand_dataset or its archive."),
    ],
    preset: Annotated[
        str, typer.Option("--preset", help=f"{', '.join(PRESETS)}; other options override it.")
    ] = DEFAULT_PRESET,
    dense: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--dense",
            metavar="CFG WEIGHTS",
            help="Start from this trained network (or its folder).",
        ),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="Train from the first layers' weights.")
    ] = None,
    transfer: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--transfer",
            metavar="CFG WEIGHTS",
            help="Train from this network (or its folder) where the shapes agree.",
        ),
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
            help="Split to choose the best epoch by.",
            show_default="held out of the training images",
        ),
    ] = None,
    allow_faulty: AllowFaulty = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="Epochs of training the original.", show_default=_PRESETS
        ),
    ] = None,
    finetune_epochs: Annotated[
        int | None,
        typer.Option(
            "--finetune-epochs", min=1, help="Epochs of fine-tuning.", show_default=_PRESETS
        ),
    ] = None,
    keep_macs: Annotated[
        float | None,
        typer.Option("--keep-macs", help="Fraction of the MACs to keep.", show_default=_PRESETS),
    ] = None,
    multiple_of: Annotated[
        int | None,
        typer.Option(
            "--multiple-of",
            min=1,
            help="Round kept channels up to multiples of this.",
            show_default="the preset's, or what the engines that are installed compute fastest",
        ),
    ] = None,
    criterion: Annotated[
        str | None,
        typer.Option(
            "--criterion",
            help=f"Channel criterion: {', '.join((*CRITERIA, *MEASURED_CRITERIA))}.",
            show_default="the preset's, or bn-scale after --sparsity",
        ),
    ] = None,
    refit: Annotated[
        bool | None,
        typer.Option(
            "--refit/--no-refit",
            help="Re-fit the pruned network without labels before fine-tuning.",
            show_default=_PRESETS,
        ),
    ] = None,
    calibration_images: CalibrationImages = None,
    distill_steps: Annotated[
        int | None,
        typer.Option(
            "--distill-steps",
            min=0,
            help="Steps of training the re-fitted network towards the original, without labels.",
            show_default=_PRESETS,
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
    iterate: Annotated[
        tuple[float, int] | None,
        typer.Option(
            "--iterate",
            metavar="STEP EPOCHS",
            help="Cut this fraction of the MACs at a time, and fine-tune for so long in between.",
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", help=f"Add a baseline row: {', '.join(CONTROLS)}."),
    ] = None,
    decode: Decode = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Images per step.", show_default=_PRESETS),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            "--accumulate",
            min=1,
            help="Micro-batches per step, over all processes.",
            show_default="one a process",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Peak rate of training.", show_default=_PRESETS),
    ] = None,
    finetune_rate: Annotated[
        float | None,
        typer.Option("--finetune-rate", help="Peak rate of fine-tuning.", show_default=_PRESETS),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Precision of the forward pass: float32, bfloat16 or float16.",
            show_default=_PRESETS,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option("--stage", metavar="NAME[,NAME...]", help="Run only these stages."),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", metavar="MINUTES", min=0, help="Stop after a checkpoint."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, max=LARGEST_SEED, help="Random seed.", show_default="0"),
    ] = None,
    device: Device = AUTO,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train, prune, fine-tune, measure and report; run again to resume."""
    strength, sparsity_epochs = sparsity or (None, None)
    step, step_epochs = iterate or (None, None)
    if sparsity is not None and criterion is None:
        criterion = "bn-scale"
    chosen = {
        "epochs": epochs,
        "finetune_epochs": finetune_epochs,
        "keep_macs": keep_macs,
        "multiple_of": multiple_of,
        "criterion": criterion,
        "refit": refit,
        "calibration_images": calibration_images,
        "distill_steps": distill_steps,
        "learning_rate": learning_rate,
        "finetune_rate": finetune_rate,
        "sparsity": strength,
        "sparsity_epochs": sparsity_epochs,
        "step": step,
        "step_epochs": step_epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "precision": precision,
        "decoded": decode,
        "seed": seed,
        "controls": control,
    }
    again = "run the same command again"
    try:
        with training_errors(out, again):
            study = do_study(
                data,
                out,
                preset=preset,
                dense=dense,
                backbone=backbone,
                transfer=transfer,
                fit_heads=fit_heads,
                train_split=train_split,
                val_split=val_split,
                allow_faulty=allow_faulty,
                stage=stage,
                minutes=time_limit,
                device=device,
                reporter=ConsoleReporter(quiet=quiet or as_json),
                **{name: value for name, value in chosen.items() if value is not None},
            )
    except TimeIsUpError as error:
        if is_first():
            errors.print(f"time is up {error}: {again} to resume in {out}", soft_wrap=True)
        raise typer.Exit(TIME_IS_UP) from None
    if is_first():
        _print(out, study, as_json, quiet)


def report(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN ... | NETWORK DIR",
            help="Folder of a case study, or of several that differ in their seed; or the dense "
            "network, and the folder that `prune` made.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Evaluate both networks, and show detections of both."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Show detections of both, without labels.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate on.", show_default="test, val or valid, as found"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on the first N images only.")
    ] = None,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    device: Device = AUTO,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write report.html: of a case study, or of a pruned network beside the dense one.

    Of several studies, show what their reports come to: mean and deviation over the seeds.
    """
    studies = len(words) == 1 or (Path(words[0]) / SUBJECT).exists()
    chosen = (data, images, split, limit, preprocess, decoder, None if device == AUTO else device)
    if studies and any(value is not None for value in chosen):
        raise UsageError("a case study has its own data and figures: give no more than its folder")
    if len(words) == 1:
        run = Path(words[0])
        _print(run, write_report(run), as_json, quiet)
        return
    if studies:
        print_result(read_seeds([*map(Path, words)]).shown(), as_json=as_json, quiet=quiet)
        return
    dense, folder = network_and_folder(words)
    study = write_page(
        dense,
        folder,
        data=data,
        images=images,
        split=split,
        limit=limit,
        preprocess=preprocess,
        decoder=decoder,
        device=device,
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    _print(folder, study, as_json, quiet, (PAGE,))


def _print(
    run: Path, study: Study, as_json: bool, quiet: bool, files: Sequence[str] = REPORTS
) -> None:
    table = results_table(study)
    written = f"wrote {', '.join(str(run / name) for name in files)}"
    shown = Shown(
        title=study.title,
        summary=f"{study.title}: {written}",
        header=table.header,
        rows=table.rows,
        lines=[written],
        document=report_json(study) if as_json else {},
    )
    print_result(shown, as_json=as_json, quiet=quiet)
