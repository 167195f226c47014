"""What the commands that train share: which images, and heads that fit their classes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.labelled import say_remarks
from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.data.dataset import Dataset
from yoloprune.data.faults import used_classes
from yoloprune.data.read import read_raw
from yoloprune.data.split import training_parts
from yoloprune.data.text_files import read_names
from yoloprune.errors import ClassesError
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.heads import (
    FittedHeads,
    check_classes,
    data_classes,
)

TrainSplit = Annotated[
    str | None,
    typer.Option("--train-split", metavar="NAME", help="To train on.", show_default="train"),
]
ValSplit = Annotated[
    str | None,
    typer.Option(
        "--val-split",
        metavar="NAME",
        help="To choose the best epoch by.",
        show_default="val or test, as found",
    ),
]
FitHeads = Annotated[
    bool,
    typer.Option(
        "--fit-heads", help="Make heads for the classes of the data, and fit anchors to its boxes."
    ),
]


def training_data(
    spec: NetworkSpec,
    data: Path,
    held_out: float,
    *,
    train_split: str | None = None,
    val_split: str | None = None,
    fit: bool = False,
    allow_faulty: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[Dataset, Dataset]:
    """(training, validation): the latter held out of the former, or a split of its own.

    Raises `ClassesError` unless the classes are the network's, or its heads are to `fit` them.
    """
    raw = read_raw(data)
    classes = data_classes(raw) if fit else class_count(spec)
    if not fit:
        with fitting_named():
            check_classes(spec, raw)
        if raw.names is None and 0 < (used := used_classes(raw)) < classes:
            reporter.warn(
                f"{data} names no classes, and its labels use {used} of the network's {classes}: "
                "--fit-heads makes heads for those alone"
            )
    training, validation = training_parts(
        data,
        classes=classes,
        splits=raw.splits,
        share=held_out,
        training=train_split,
        validation=val_split,
        allow_faulty=allow_faulty,
    )
    say_remarks(data, training, reporter)
    if validation.remarks != training.remarks:
        say_remarks(data, validation, reporter)
    trained = {image.path for image in training.images}
    if both := sum(image.path in trained for image in validation.images):
        reporter.warn(
            f"{data}: {both} of the {len(validation.images)} images to choose the best epoch by "
            "are training images: --hold-out or --val-split name others"
        )
    return training, validation


def fit_text(before: NetworkSpec, fitted: FittedHeads) -> str:
    """What became of the heads of a network."""
    now, kept = class_count(fitted.spec), len(fitted.matching)
    anchors = f"mean best IoU {fitted.before.mean_iou:.3f}"
    if fitted.after != fitted.before:
        anchors += f", fitted {fitted.after.mean_iou:.3f}"
    return (
        f"heads: {class_count(before)} classes before, {now} now, {kept} of them taken over; "
        f"anchors: {anchors}"
    )


@contextmanager
def fitting_named() -> Iterator[None]:
    """Add to a mismatch of classes which option mends it."""
    try:
        yield
    except ClassesError as error:
        raise ClassesError(
            f"{error}: --fit-heads (train, finetune, case-study) makes heads that fit the data"
        ) from error


def names_of(spec: NetworkSpec, files: Iterable[Path]) -> tuple[str, ...] | None:
    """Names of a network's classes from the first of these .names files that has as many."""
    for path in files:
        if path.is_file():
            names = read_names(path)
            if len(names) == class_count(spec):
                return names
    return None
