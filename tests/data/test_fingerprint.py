from dataclasses import replace
from pathlib import Path

from tests.training.painted import paint
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.read import read_dataset


def test_it_changes_with_what_is_trained_on_and_not_with_the_place(tmp_path: Path) -> None:
    data = paint(tmp_path / "data", train=3, test=1)
    original = fingerprint(read_dataset(data, classes=1, split="train"))
    data = data.rename(tmp_path / "moved")
    dataset = read_dataset(data, classes=1, split="train")
    assert fingerprint(dataset) == original
    first, *others = dataset.images
    changed = [
        replace(dataset, images=tuple(others)),
        replace(dataset, images=(replace(first, boxes=first.boxes * 0.99), *others)),
        replace(dataset, images=(replace(first, labels=first.labels + 1), *others)),
    ]
    found = {original, *map(fingerprint, changed)}
    with first.path.open("ab") as file:
        file.write(b"more")
    assert len(found | {fingerprint(dataset)}) == 5
