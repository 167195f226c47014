"""Detection as Python users call it."""

import json
from pathlib import Path

from tests.reporters import Heard
from tests.workflows.detectors import cfg, data  # noqa: F401
from yoloprune.workflows.detect import detect
from yoloprune.workflows.models import load


def test_what_is_found_is_drawn_listed_and_given(cfg: Path, data: Path) -> None:  # noqa: F811
    heard, out = Heard(), data.parent / "out"
    found = detect(cfg, [data], out=str(out), reporter=heard)
    assert [len(image["detections"]) for image in found.document["images"]] == [2, 1]
    assert json.loads((out / "detections.json").read_text())["images"] == found.document["images"]
    assert (found.document["cfg"], found.document["compared_with"]) == (str(cfg), None)
    assert heard.lines == ["note: no names found for the classes: they are numbered"]


def test_engines_see_the_same(cfg: Path, data: Path) -> None:  # noqa: F811
    model = load(cfg)
    images = [
        detect(
            model, [data / "a.png"], out=data / name, against=model, names=["a", "b"], engine=name
        ).document["images"]
        for name in ("torch", "opencv")
    ]
    assert images[0] == images[1]
    assert (images[0][0]["compared"]["both"], images[0][0]["detections"][0]["name"]) == (2, "a")
