import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, paint, write_labels
from tests.reporters import Heard
from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.engines.side_by_side import SideBySide
from yoloprune.errors import DatasetError, UsageError
from yoloprune.frontends.darknet.document import DarknetDocument, for_input_size
from yoloprune.graph.model import Model
from yoloprune.workflows import lever_points, rounding, timing
from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.export import export
from yoloprune.workflows.lever_points import Point, Setting, Workshop
from yoloprune.workflows.levers import Levers, pull_levers
from yoloprune.workflows.models import load


def point(share: float, map50: float) -> Point:
    time = SideBySide(engine="", threads=1, runs=1, dense_ms=4.0, slim_ms=4.0 * share, share=share)
    setting = Setting(height=64, width=64, blocks=round(10 * (1 - share)))
    return Point(
        setting=setting, map50=map50, time=time, file=setting.file, sha256="", of="", by=""
    )


def test_the_front_and_what_is_recommended(tmp_path: Path) -> None:
    points = (point(1.0, 0.5), point(0.8, 0.49), point(0.9, 0.45), point(0.4, 0.3), point(0.4, 0.2))
    found = Levers(title="net", points=points, images=3, threads=1, left_out=("int8: no",))
    assert found.front == (0, 1, 3)
    assert found.fastest_near() == 1 and found.fastest_near(0.2) == 3
    assert found.best_at(0.85) == 1 and found.best_at(0.5) == 3 and found.best_at(0.3) is None
    assert "#1, 64x64, 2 blocks fewer (0.80 of the time, 0.490)" in str(found)
    assert "best at 2 ms, 0.5 of the dense network's: #3" in str(found)
    assert "best at 1.4 ms, 0.35 of the dense network's: none is as fast" in str(found)
    assert "left out: int8: no" in str(found)
    assert found.save(tmp_path) == ["sweep.json", "sweep.png"]
    assert json.loads((tmp_path / "sweep.json").read_text())["best_at"]["0.5"] == 3
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


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


def test_levers_together(cfg: Path, folder: Path) -> None:  # noqa: F811
    dense = network(cfg)
    judged, seen, out = folder / "judged", folder / "seen", folder / "out"
    heard = Heard()
    found = pull_levers(dense, judged, seen, out, levers=["input", "int8", "depth"], reporter=heard)
    assert (found.points[0].setting.name, found.points[0].map50) == ("64x64", 1)
    assert found.points[0].share == 1
    tried = {(p.setting.width, p.setting.int8) for p in found.points}
    assert tried >= {(64, False), (64, True), (32, False)}
    assert [reason for reason in found.left_out if reason.startswith("depth: ")]
    assert any("depth: " in line for line in heard.warnings)
    for each in found.points:
        assert evaluate(out / each.file, judged, engine="onnxruntime").map50 == each.map50
    # Nothing is made again.
    record = out / "64x64-1/float.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "map50": 0.75}))
    again = pull_levers(dense, judged, seen, out, levers=["input"])
    assert again.points[0].map50 == 0.75
    # What cannot have been measured is measured anew.
    record.write_text(json.dumps({**json.loads(record.read_text()), "map50": math.nan}))
    again = pull_levers(dense, judged, seen, out, levers=["input"])
    assert again.points[0].map50 == json.loads(record.read_text())["map50"] == 1


@pytest.mark.parametrize(("there", "tried"), [(1, {0, 1}), (3, {0, 2, 3}), (9, {0, 2, 4})])
def test_as_many_blocks_go_as_there_are(
    cfg: Path,  # noqa: F811
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: int,
    tried: set[int],
) -> None:
    order = tuple((f"sum_{number}", 0) for number in range(there))

    def made(self: Workshop, setting: Setting, order: object) -> Point:
        return replace(point(1.0, 0.5), setting=setting, file=setting.file)

    monkeypatch.setattr(Workshop, "block_order", lambda self, most: order[:most])
    monkeypatch.setattr(Workshop, "point", made)
    judged, seen = folder / "judged", folder / "seen"
    found = pull_levers(network(cfg), judged, seen, folder / "out", levers=["depth"])
    assert {p.setting.blocks for p in found.points} == tried


def whole_ms(network: Model, engine: str, threads: int) -> float:
    """A millisecond for each channel that a kernel reads and each that it gives."""
    assert (engine, threads) == ("onnxruntime", 1)
    shapes = [parameter.shape for parameter in network.graph.parameters.values()]
    return float(sum(shape[0] * shape[1] for shape in shapes if len(shape) == 4))


def beside(dense: Model, slim: Model, engine: str, threads: int) -> SideBySide:
    before, after = (whole_ms(own, engine, threads) for own in (dense, slim))
    share = after / before
    return SideBySide(engine="", threads=1, runs=1, dense_ms=before, slim_ms=after, share=share)


def with_decoding(dense: Model, slim: Model, engine: str, threads: int) -> SideBySide:
    """Of files one beside the other, whatever; of a file beside its network, what decoding adds."""
    whole = isinstance(dense.document, DarknetDocument)
    return SideBySide(
        engine="", threads=1, runs=1, dense_ms=1.0, slim_ms=1.2, share=1.2 if whole else 1.0
    )


def test_pruned_to_a_share_of_the_time(
    detector: Model, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def timer(engine: str, threads: int) -> object:
        return lambda layers: {own: float(own.inputs * own.outputs) for own in layers}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rounding, "channel_quantum", lambda engine: 8)
    monkeypatch.setattr(timing, "LayerTimer", timer)
    monkeypatch.setattr(timing, "network_ms", whole_ms)
    monkeypatch.setattr(timing, "side_by_side", beside)
    monkeypatch.setattr(lever_points, "side_by_side", with_decoding)
    out, seen = tmp_path / "out", painted / "images" / "train"
    found = pull_levers(
        detector, painted, seen, out, levers=["width"], shares=[], ms_shares=[0.3, 1e-3, 0.6],
        split="test", calibration_images=4,
    )  # fmt: skip
    assert [own.setting.keep_ms for own in found.points] == [1, 0.6, 0.3]
    for own in found.points:
        slim = load(out / own.setting.folder)
        share = whole_ms(slim, "onnxruntime", 1) / whole_ms(detector, "onnxruntime", 1)
        # The file decodes too, which takes a fifth of the dense network's time whatever goes.
        assert own.setting.keep_ms - 0.1 < (share + 0.2) / 1.2 <= own.setting.keep_ms
    (reason,) = found.left_out
    assert reason.startswith("64x64, pruned to 0.001 of the ms: the budget cannot be met")


def test_an_onnx_network_for_one_size_alone(cfg: Path, folder: Path) -> None:  # noqa: F811
    file = folder / "boxes.onnx"
    export(network(cfg), file)
    judged, seen = folder / "judged", folder / "seen"
    found = pull_levers(file, judged, seen, folder / "out", levers=["input"])
    assert len(found.points) == 1 and found.points[0].map50 == 1
    (reason,) = found.left_out
    assert reason.startswith("input: boxes: it is for images of 64x64, and not of ")


def test_bad_input(cfg: Path, folder: Path) -> None:  # noqa: F811
    dense, judged, seen, out = network(cfg), folder / "judged", folder / "seen", folder / "out"
    with pytest.raises(UsageError, match="lever 'color' is unknown"):
        pull_levers(dense, judged, seen, out, levers=["color"])
    with pytest.raises(UsageError, match=r"must be in \(0, 1\)"):
        pull_levers(dense, judged, seen, out, shares=[1.5])
    with pytest.raises(UsageError, match=r"shares of time to keep must be in \(0, 1\), not \[0\]"):
        pull_levers(dense, judged, seen, out, ms_shares=[0])
    for minutes in (0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=f"`distill_minutes` {minutes} must be a number above"):
            pull_levers(dense, judged, seen, out, distill_minutes=minutes)
    with pytest.raises(DatasetError, match=r"all of its .* are measured on"):
        pull_levers(dense, judged, judged, out)
    assert not out.exists()
    pull_levers(dense, judged, seen, out, levers=[])
    with pytest.raises(UsageError, match="other images, or with other settings: choose another"):
        pull_levers(dense, judged, seen, out, levers=[], seed=1)
    with pytest.raises(UsageError, match="other images, or with other settings: choose another"):
        pull_levers(dense, seen, judged, out, levers=[])
    file = out / "64x64-1/slim.onnx"
    made = file.read_bytes()
    file.write_bytes(made + b"0")
    with pytest.raises(UsageError, match="not the file that the sweep made"):
        pull_levers(dense, judged, seen, out, levers=[])
    file.write_bytes(made)
    record = out / "64x64-1/float.json"
    record.write_text(record.read_text().replace('"of": "', '"of": "0'))
    with pytest.raises(UsageError, match="of another network: choose another folder"):
        pull_levers(dense, judged, seen, out, levers=[])
