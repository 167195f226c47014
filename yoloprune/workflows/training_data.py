"""Labeled images for training: which to learn from, which to choose the best epoch by."""

from dataclasses import dataclass
from pathlib import Path

from yoloprune.data.dataset import Dataset
from yoloprune.data.faults import described, used_classes
from yoloprune.data.read import of_classes, read_raw
from yoloprune.data.split import training_parts
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.spec import class_count
from yoloprune.graph.model import Model
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.heads import check_classes, data_classes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """A data set (folder, data.yaml, .data or COCO .json), and what of it is used.

    `train_split` and `val_split` are the splits to train on and to choose the best epoch by: None
    for the usual ones. With `hold_out` that share of the training images is set aside instead. With
    `allow_faulty` images whose annotation cannot be read are left out.
    """

    path: Path
    train_split: str | None = None
    val_split: str | None = None
    hold_out: float = 0.0
    allow_faulty: bool = False


def training_source(data: TrainingSource | str | Path) -> TrainingSource:
    """A source as it is, or that of a path with the usual splits."""
    return data if isinstance(data, TrainingSource) else TrainingSource(path=Path(data))


def training_data(
    network: Model, source: TrainingSource, *, fit: bool = False, reporter: Reporter = SILENT
) -> tuple[Dataset, Dataset]:
    """(training, validation): the latter held out of the former, or a split of its own.

    Raises `ClassesError` unless the classes are the network's, or its heads are to `fit` them.
    """
    data, spec = source.path, darknet(network).spec
    known = None if fit else network.document.names
    raw = of_classes(read_raw(data), known)
    classes = data_classes(raw) if fit else class_count(spec)
    if not fit:
        check_classes(spec, raw)
        if raw.names is None and 0 < (used := used_classes(raw)) < classes:
            reporter.warn(
                f"{data} names no classes, and its labels use {used} of the network's {classes}: "
                "`fit_heads` makes heads for those alone"
            )
    training, validation = training_parts(
        data,
        classes=classes,
        known=known,
        splits=raw.splits,
        share=source.hold_out,
        training=source.train_split,
        validation=source.val_split,
        allow_faulty=source.allow_faulty,
    )
    tell_remarks(data, training, reporter)
    if validation.remarks != training.remarks:
        tell_remarks(data, validation, reporter)
    trained = {image.path for image in training.images}
    if both := sum(image.path in trained for image in validation.images):
        reporter.warn(
            f"{data}: {both} of the {len(validation.images)} images to choose the best epoch by "
            "are training images: `hold_out` or `val_split` name others"
        )
    return training, validation


def tell_remarks(path: Path, dataset: Dataset, reporter: Reporter) -> None:
    """Warn of all that was odd in a data set."""
    for remark in dataset.remarks:
        reporter.warn(f"{path}: {described(remark)}")
