"""The data of a study: converted where it is the original, rendered where there is none."""

import json
from dataclasses import dataclass
from pathlib import Path

from yoloprune.case_study.settings import StudySettings
from yoloprune.datasets.anchors import cfg_anchors, input_shapes
from yoloprune.datasets.fingerprint import fingerprint
from yoloprune.datasets.formats import read_raw
from yoloprune.datasets.hold_out import hold_out
from yoloprune.datasets.labels import Dataset, read_dataset
from yoloprune.datasets.synthetic_hands import write_synthetic_hands
from yoloprune.datasets.vgg_hand import convert_hand_dataset, is_original, opened_original
from yoloprune.errors import DatasetError
from yoloprune.files import write_text

SUMMARY = "data.json"

ANCHORS = 9
"""A YOLOv3 has three heads of three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyData:
    """Where the data of a study is, its classes, and the anchors that fit its training boxes.

    `anchors` are (width, height) in pixels of the study's input size.
    """

    path: Path
    names: tuple[str, ...]
    anchors: tuple[tuple[float, float], ...]

    def training(self, share: float) -> tuple[Dataset, Dataset]:
        """The training images and, held out of them, the validation images."""
        classes = len(self.names)
        return hold_out(read_dataset(self.path, classes=classes, split="train"), share)

    def test(self) -> Dataset:
        """The images that nothing is chosen by."""
        return read_dataset(self.path, classes=len(self.names))


def prepare_data(folder: Path, source: Path | None, settings: StudySettings) -> None:
    """Bring the data into the form that training reads, and fit anchors to it.

    Raises `DatasetError` if there is no data, or no training and test images in it.
    """
    if source is None:
        if settings.rendered is None:
            raise DatasetError("there is no data, and none is to be rendered")
        source = folder / "rendered"
        if not source.exists():
            training_images, test_images = settings.rendered
            write_synthetic_hands(
                source, train=training_images, test=test_images, seed=settings.seed
            )
    path = source.resolve()
    if is_original(source):
        path = (folder / "hands").resolve()
        if not path.exists():
            with opened_original(source, folder) as root:
                convert_hand_dataset(root, path)
    names = read_raw(path).names or ("object",)
    data = StudyData(path=path, names=names, anchors=())
    training, validation = data.training(settings.hold_out)
    test = data.test()
    if {image.path for image in test.images} & {image.path for image in training.images}:
        raise DatasetError(f"{path}: the training images are also the test images")
    # Stretched, every image fills the input, whatever its size.
    boxes = [image.boxes for image in training.images]
    size = (settings.image_size, settings.image_size)
    shapes = input_shapes(boxes, [(1, 1)] * len(boxes), size, letterbox=False)
    anchors = cfg_anchors(shapes, ANCHORS, seed=settings.seed)
    parts = {"training": training, "validation": validation, "test": test}
    document = {
        "path": str(path),
        "names": names,
        "anchors": anchors.tolist(),
        "images": {name: len(part.images) for name, part in parts.items()},
        "boxes": sum(part.object_count for part in parts.values()),
        "sha256": {name: fingerprint(part) for name, part in parts.items()},
    }
    write_text(folder / SUMMARY, json.dumps(document, indent=1) + "\n")


def read_study_data(run: Path) -> StudyData:
    """What `prepare_data` found out for a study."""
    document = json.loads((run / "data" / SUMMARY).read_text(encoding="utf-8"))
    return StudyData(
        path=Path(document["path"]),
        names=tuple(document["names"]),
        anchors=tuple((width, height) for width, height in document["anchors"]),
    )
