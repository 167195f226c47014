from pathlib import Path

import numpy as np

from yoloprune.data.dataset import Dataset, Fault, Finding, LabeledImage, Remark


def labeled(objects: int) -> LabeledImage:
    return LabeledImage(
        path=Path("a.jpg"), boxes=np.zeros((objects, 4)), labels=np.zeros(objects, np.int64)
    )


def test_objects_and_images_without_labels_are_counted() -> None:
    remarks = tuple(
        Remark(fault=fault, count=count, first=Finding(fault=fault, where="a", text="b"))
        for fault, count in ((Fault.NO_LABELS, 3), (Fault.OUTSIDE, 5))
    )
    images = (labeled(2), labeled(0), labeled(4))
    dataset = Dataset(images=images, names=("hand",), remarks=remarks)
    assert (dataset.object_count, dataset.unlabeled) == (6, 3)
    assert Dataset(images=images[:1], names=("hand",)).unlabeled == 0
