import json
from pathlib import Path

import pytest

from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, paint, write_labels
from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.errors import DatasetError, UsageError
from yoloprune.frontends.darknet.document import for_input_size
from yoloprune.graph.model import Model
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.levers import Levers, Point, pull_levers
from yoloprune.workflows.models import load


def point(share: float, map50: float) -> Point:
    return Point(
        width=64, height=64, keep_macs=1.0, int8=False, map50=map50, ms=share, share=share,
        file="a.onnx", of="",
    )  # fmt: skip


def test_the_front_and_what_is_recommended() -> None:
    points = (point(1.0, 0.5), point(0.8, 0.49), point(0.9, 0.45), point(0.4, 0.3), point(0.4, 0.2))
    found = Levers(title="net", points=points, images=3, threads=1)
    assert found.front == (0, 1, 3)
    assert found.fastest_near() == 1 and found.fastest_near(0.2) == 3
    assert "#1, 64x64 (0.80 of the time)" in str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    size = (64, 64)
    for number in range(6):
        for column, part in enumerate(("judged", "seen")):
            place = tmp_path / part / f"{number}.png"
            paint(place, size, {(number, column): GREEN_OBJECT, (7, number): BLUE_OBJECT})
            write_labels(place.with_suffix(".txt"), size, [(number, column, 0), (7, number, 1)])
    return tmp_path


def network(cfg: Path) -> Model:  # noqa: F811
    return for_input_size(load(cfg), 64, 64)


def test_input_and_int_8_together(cfg: Path, folder: Path) -> None:  # noqa: F811
    dense = network(cfg)
    judged, seen, out = folder / "judged", folder / "seen", folder / "out"
    found = pull_levers(dense, judged, seen, out, levers=["input", "int8"])
    assert (found.points[0].name, found.points[0].map50) == ("64x64", 1)
    assert {(p.width, p.int8) for p in found.points} >= {(64, False), (64, True), (32, False)}
    for each in found.points:
        assert evaluate(out / each.file, judged, engine="onnxruntime").map50 == each.map50
    # Nothing is made again.
    (out / "64x64-1.json").write_text(json.dumps({**_entry(found.points[0]), "map50": 0.75}))
    again = pull_levers(dense, judged, seen, out, levers=["input"])
    assert again.points[0].map50 == 0.75


def _entry(found: Point) -> dict[str, object]:
    return {name: getattr(found, name) for name in Point.__dataclass_fields__}


def test_bad_input(cfg: Path, folder: Path) -> None:  # noqa: F811
    dense, judged, seen, out = network(cfg), folder / "judged", folder / "seen", folder / "out"
    with pytest.raises(UsageError, match="lever 'color' is unknown"):
        pull_levers(dense, judged, seen, out, levers=["color"])
    with pytest.raises(UsageError, match=r"must be in \(0, 1\)"):
        pull_levers(dense, judged, seen, out, shares=[1.5])
    with pytest.raises(DatasetError, match=r"all of its .* are measured on"):
        pull_levers(dense, judged, judged, out)
    assert not out.exists()
    pull_levers(dense, judged, seen, out, levers=[])
    record = out / "64x64-1.json"
    record.write_text(record.read_text().replace('"of": "', '"of": "0'))
    with pytest.raises(UsageError, match="of another network: choose another folder"):
        pull_levers(dense, judged, seen, out, levers=[])
