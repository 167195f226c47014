"""The data of a study, converted where it is the original VGG Hand data set."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from yoloprune.data.anchors import cfg_anchors, input_shapes
from yoloprune.data.dataset import Dataset
from yoloprune.data.faults import described
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.data.split import TRAINING_SPLIT, training_parts
from yoloprune.data.vgg_hand import (
    convert_hand_dataset,
    is_original,
    opened_original,
    warnings_of,
)
from yoloprune.documents import read_document
from yoloprune.errors import ClassesError, DatasetError, RunError
from yoloprune.files import write_json, write_text
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import class_count
from yoloprune.workflows.case_study.subject import Subject

SUMMARY = "data.json"

TRAINING = "training.txt"
"""A list of the training images, for what looks at images without labels."""

ANCHORS = 9
"""A YOLOv3 has three heads of three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What data.json says: `StudyData`, and the numbers of images and objects in each part.

    A path inside the stage's folder is relative to it, so that a run can be moved.
    """

    path: str
    names: tuple[str, ...]
    anchors: tuple[tuple[float, float], ...]
    images: dict[str, int]
    objects: dict[str, int]
    sha256: dict[str, str]
    warnings: tuple[str, ...]
    # Runs of earlier versions have none of these.
    splits: tuple[str, ...] = (TRAINING_SPLIT,)
    chosen: tuple[str | None, str | None] = (None, None)
    allow_faulty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyData:
    """Where the data of a study is, its classes, and the anchors that fit its training boxes.

    `anchors` are (width, height) in pixels of the study's input size; `warnings` say what was wrong
    with the original; `sha256` are the fingerprints of the parts when they were prepared. `splits`
    are the names of all splits, `chosen` those for training and validation that were asked for.
    """

    path: Path
    names: tuple[str, ...]
    anchors: tuple[tuple[float, float], ...]
    warnings: tuple[str, ...]
    sha256: dict[str, str]
    splits: tuple[str, ...]
    chosen: tuple[str | None, str | None]
    allow_faulty: bool

    def training(self, share: float) -> tuple[Dataset, Dataset]:
        """The training images and, a split of their own or held out of them, the validation images.

        Raises `DatasetError` if they are no longer those that the study was begun with.
        """
        training, validation = _training(
            self.path, self.names, self.splits, self.chosen, share, self.allow_faulty
        )
        self._check("training", training)
        self._check("validation", validation)
        return training, validation

    def test(self) -> Dataset:
        """The images that nothing is chosen by; raises `DatasetError` if they have changed."""
        found = _test(self.path, self.names, self.allow_faulty)
        self._check("test", found)
        return found

    def _check(self, part: str, dataset: Dataset) -> None:
        if fingerprint(dataset) != self.sha256.get(part):
            raise DatasetError(
                f"{self.path}: the {part} images or labels have changed since the study was begun: "
                "put them back, or choose another folder"
            )


def prepare_data(folder: Path, subject: Subject) -> None:
    """Bring the data into the form that training reads, and fit anchors to it.

    What was made is in `folder`, and data.json there says where the data is and what it holds.
    Raises `DatasetError` if there are no training and test images in it, `ClassesError` if the
    network that was given has other classes and is to keep its heads.
    """
    source, settings = subject.data, subject.settings
    warnings: Sequence[str] = ()
    path = source.resolve()
    if is_original(source):
        path = (folder / "hands").resolve()
        # What a conversion that was stopped afterwards had to say is not known any more.
        shutil.rmtree(path, ignore_errors=True)
        with opened_original(source, folder) as root:
            conversion = convert_hand_dataset(root, path)
        warnings = warnings_of(conversion)
    raw = read_raw(path)
    names = raw.names or ("object",)
    if subject.dense is not None and not subject.fit_heads:
        cfg = subject.dense[0]
        if (classes := class_count(read_cfg(cfg))) != len(names):
            raise ClassesError(f"{cfg}: the network has {classes} classes, the data {len(names)}")
    splits, chosen = tuple(raw.splits), (subject.train_split, subject.val_split)
    training, validation = _training(
        path, names, splits, chosen, settings.hold_out, subject.allow_faulty
    )
    test = _test(path, names, subject.allow_faulty)
    tested = {image.path for image in test.images}
    for name, part in (("training", training), ("validation", validation)):
        if tested & {image.path for image in part.images}:
            raise DatasetError(
                f"{path}: the {name} images are also the test images "
                "(`yoloprune data split` makes a copy with splits)"
            )
    for name, part in (("validation", validation), ("test", test)):
        # Better now than after all training.
        if not part.object_count:
            raise DatasetError(
                f"{path}: none of the {len(part.images)} {name} images has an object to be found"
            )
    # Stretched, every image fills the input, whatever its size.
    boxes = [image.boxes for image in training.images]
    size = settings.training().input_size
    shapes = input_shapes(boxes, [(1, 1)] * len(boxes), size, letterbox=False)
    anchors = cfg_anchors(shapes, ANCHORS, seed=settings.seed)
    parts = {"training": training, "validation": validation, "test": test}
    inside = path.is_relative_to(folder.resolve())
    summary = Summary(
        path=str(path.relative_to(folder.resolve())) if inside else str(path),
        names=names,
        splits=splits,
        chosen=chosen,
        allow_faulty=subject.allow_faulty,
        anchors=tuple((width, height) for width, height in anchors.tolist()),
        images={name: len(part.images) for name, part in parts.items()},
        objects={name: part.object_count for name, part in parts.items()},
        sha256={name: fingerprint(part) for name, part in parts.items()},
        warnings=(*warnings, *_remarks({"training": training, "test": test})),
    )
    write_json(folder / SUMMARY, asdict(summary))
    write_text(folder / TRAINING, _list(folder, training))


def read_summary(run: Path) -> Summary:
    """What `prepare_data` wrote for a study."""
    return read_document(run / "data" / SUMMARY, Summary, fault=RunError)


def _list(folder: Path, dataset: Dataset) -> str:
    """Lines of image files; those inside the folder are relative to it."""
    root = folder.resolve()
    paths = [image.path.resolve() for image in dataset.images]
    lines = [path.relative_to(root) if path.is_relative_to(root) else path for path in paths]
    return "".join(f"{line}\n" for line in lines)


def _remarks(parts: Mapping[str, Dataset]) -> Iterator[str]:
    # Those of the validation images are the training images' where they are held out of them.
    for name, part in parts.items():
        yield from (f"{name} images: {described(remark)}" for remark in part.remarks)


def read_study_data(run: Path) -> StudyData:
    """What `prepare_data` found out for a study."""
    summary = read_summary(run)
    return StudyData(
        path=run / "data" / summary.path,
        names=summary.names,
        anchors=summary.anchors,
        warnings=summary.warnings,
        sha256=summary.sha256,
        splits=summary.splits,
        chosen=summary.chosen,
        allow_faulty=summary.allow_faulty,
    )


def _training(
    path: Path,
    names: Sequence[str],
    splits: Collection[str],
    chosen: tuple[str | None, str | None],
    share: float,
    allow_faulty: bool,
) -> tuple[Dataset, Dataset]:
    training, validation = chosen
    return training_parts(
        path,
        classes=len(names),
        splits=splits,
        share=share if validation is None else 0.0,
        training=training,
        validation=validation,
        allow_faulty=allow_faulty,
    )


def _test(path: Path, names: Sequence[str], allow_faulty: bool) -> Dataset:
    return read_dataset(path, classes=len(names), allow_faulty=allow_faulty)
