"""Labelled data for commands: read, with a word about everything that was odd."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.data.dataset import Dataset
from yoloprune.data.faults import described
from yoloprune.data.read import read_dataset
from yoloprune.reporter import SILENT, Reporter

AllowFaulty = Annotated[
    bool,
    typer.Option(
        "--allow-faulty",
        help="Leave out images with unreadable annotations; accept that most have none.",
    ),
]


def read_labelled(
    path: Path,
    *,
    classes: int,
    split: str | None = None,
    limit: int | None = None,
    images: Path | None = None,
    allow_faulty: bool = False,
    reporter: Reporter = SILENT,
) -> Dataset:
    """One split of a data set, as `read_dataset` reads it; warns of all that was odd."""
    dataset = read_dataset(
        path,
        classes=classes,
        split=split,
        limit=limit,
        images=images,
        allow_faulty=allow_faulty,
    )
    say_remarks(path, dataset, reporter)
    return dataset


def say_remarks(path: Path, dataset: Dataset, reporter: Reporter) -> None:
    """Warn of all that was odd in a data set."""
    for remark in dataset.remarks:
        reporter.warn(f"{path}: {described(remark)}")
