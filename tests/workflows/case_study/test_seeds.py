import json
import math
import shutil
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yoloprune.errors import RunError, UsageError
from yoloprune.files import write_json
from yoloprune.workflows.case_study.data import Summary
from yoloprune.workflows.case_study.measurements import EVALUATED, evaluation_file
from yoloprune.workflows.case_study.seeds import read_seeds
from yoloprune.workflows.stages import Manifest


def written(folder: Path, maps: dict[str, float | None], **settings: Any) -> Path:
    """A folder with what is read of a report."""
    rows = [
        {"name": name, "macs": 100, "map50": value, "map50_coco": None, "seconds": 90.0}
        for name, value in maps.items()
    ]
    folder.mkdir()
    document = {"title": "Hands", "settings": {"epochs": 3, **settings}, "rows": rows, "more": 1}
    (folder / "report.json").write_text(json.dumps(document))
    return folder


def test_each_row_is_compared_to_the_original_of_its_seed(tmp_path: Path) -> None:
    dense, slim = (0.5, 0.6, 0.52), (0.49, 0.6, 0.5)
    runs = [
        written(tmp_path / str(seed), {"Original": a, "Slim": b, "Unknown": None}, seed=seed)
        for seed, (a, b) in enumerate(zip(dense, slim, strict=True))
    ]
    found = read_seeds(runs)
    changes = [b - a for a, b in zip(dense, slim, strict=True)]
    row = found.rows[1]
    assert row.map50 is not None and row.change is not None
    assert row.map50.mean == pytest.approx(statistics.fmean(slim))
    assert row.change.mean == pytest.approx(statistics.fmean(changes))
    assert row.change.deviation == pytest.approx(statistics.stdev(changes))
    assert found.rows[2].map50 is None
    text = str(found)
    assert "3 seeds" in text and "-0.010 ± 0.010" in text and "1.5min" in text


def test_a_single_study_has_no_deviation(tmp_path: Path) -> None:
    (row,) = read_seeds([written(tmp_path / "0", {"Original": 0.5}, seed=0)]).rows
    assert row.map50 is not None and row.map50.deviation is None
    assert row.map50.text(".3f") == "0.500"


def drawn(run: Path, row: str, draws: list[float]) -> None:
    """The evaluation of a row, as far as it is read."""
    (run / EVALUATED).mkdir(exist_ok=True)
    details = {"objects": [1], "hits": [1], "false_alarms": [0], "draws": draws}
    curve: dict[str, list[float]] = {"precision": [], "recall": []}
    figures = {"map50": 0.5, "map50_95": None, "curve": curve, "details": details}
    document = {"case-study": figures, "coco": figures}
    (run / EVALUATED / evaluation_file(row)).write_text(json.dumps(document))


def test_the_same_images_are_drawn_for_all_networks_of_all_seeds(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    dense, slim = generator.random((2, 2, 50))
    runs = []
    for seed in range(2):
        runs.append(written(tmp_path / str(seed), {"Original": 0.5, "Slim": 0.5}, seed=seed))
        drawn(runs[-1], "Original", dense[seed].tolist())
        drawn(runs[-1], "Slim", slim[seed].tolist())
    (original, row) = read_seeds(runs).rows
    low, high = np.quantile((slim - dense).mean(axis=0), (0.025, 0.975))
    assert row.gain == pytest.approx((low, high)) and original.gain is None
    assert f"[{low:+.3f}, {high:+.3f}]" in str(read_seeds(runs))
    drawn(runs[0], "Slim", [0.5])
    assert read_seeds(runs[:1]).rows[1].gain is None


def test_a_row_that_not_every_seed_has_says_so(tmp_path: Path) -> None:
    more = {"Original": 0.5, "Random": 0.25}
    first = written(tmp_path / "0", {"Original": 0.5}, seed=0, controls=[])
    second = written(tmp_path / "1", more, seed=1, controls=["random"])
    found = read_seeds([first, second])
    assert [row.name for row in found.rows] == ["Original", "Random"]
    assert "Random: of 1 seed alone" in str(found)


def test_studies_of_something_else_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "0", {"Original": 0.5}, seed=0)
    longer = written(tmp_path / "1", {"Original": 0.5}, seed=1, width=2)
    with pytest.raises(UsageError, match="in more than the seed: width"):
        read_seeds([first, longer])
    with pytest.raises(UsageError, match="in more than the seed: width"):
        read_seeds([longer, first])
    with pytest.raises(UsageError, match="the same seed"):
        read_seeds([first, first])
    seeds: list[Any] = [[1], math.nan, None, True]
    for number, seed in enumerate(seeds):
        odd = written(tmp_path / f"odd{number}", {"Original": 0.5}, seed=seed)
        with pytest.raises(RunError, match="no whole number"):
            read_seeds([first, odd])
    data = {"name": "hands", "images": {"test": 7}, "objects": {"test": 9}, "classes": ["hand"]}
    both = [written(tmp_path / f"data{seed}", {"Original": 0.5}, seed=seed) for seed in (5, 6)]
    for run, name in zip(both, ("hands", "feet"), strict=True):
        document = json.loads((run / "report.json").read_text())
        (run / "report.json").write_text(
            json.dumps({**document, "dataset": {**data, "name": name}})
        )
    with pytest.raises(UsageError, match="in more than the seed: test images"):
        read_seeds(both)
    with pytest.raises(RunError, match=r"report\.json"):
        read_seeds([first, tmp_path])


def test_the_interval_is_of_the_seeds_that_the_change_is_of(tmp_path: Path) -> None:
    runs = []
    for seed in range(2):
        runs.append(written(tmp_path / str(seed), {"Original": 0.5, "Slim": 0.4}, seed=seed))
        for row in ("Original", "Slim"):
            drawn(runs[-1], row, [0.5, 0.4])
    assert read_seeds(runs).rows[1].gain is not None
    (runs[0] / EVALUATED / evaluation_file("Slim")).unlink()
    assert read_seeds(runs).rows[1].gain is None
    unknown = written(tmp_path / "2", {"Original": None, "Slim": 0.4}, seed=2)
    found = read_seeds([runs[1], unknown])
    assert found.rows[1].gain is not None
    assert "Slim, from the original: of 1 seed alone" in str(found)
    assert "Slim: of 1" not in str(found)


def test_what_only_some_controls_use_is_compared_where_it_is(tmp_path: Path) -> None:
    runs = [written(tmp_path / str(seed), {"Original": 0.5}, seed=seed) for seed in range(2)]
    document = json.loads((runs[1] / "report.json").read_text())
    del document["settings"]["epochs"]
    (runs[1] / "report.json").write_text(json.dumps(document))
    assert read_seeds(runs).seeds == (0, 1)


def test_runs_of_other_files_are_refused(tmp_path: Path) -> None:
    runs = [written(tmp_path / str(seed), {"Original": 0.5}, seed=seed) for seed in range(2)]
    for number, run in enumerate(runs):
        (run / "dense").mkdir()
        manifest = Manifest(
            stage="dense", inputs={}, settings={"dense": [str(number)]}, environment={}, outputs={}
        )
        write_json(run / "dense" / "manifest.json", asdict(manifest))
    with pytest.raises(UsageError, match="in more than the seed: the network"):
        read_seeds(runs)
    shutil.rmtree(runs[1] / "dense")
    for number, run in enumerate(runs):
        summary = Summary(
            path="hands", names=("hand",), anchors=(), images={}, objects={},
            sha256={"test": str(number)}, warnings=(),
        )  # fmt: skip
        write_json(run / "data" / "data.json", asdict(summary))
    with pytest.raises(UsageError, match="in more than the seed: the test images' files"):
        read_seeds(runs)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_figures_that_cannot_be_are_refused(tmp_path: Path, value: float) -> None:
    run = written(tmp_path / "0", {"Original": value}, seed=0)
    with pytest.raises(RunError, match=r"report\.json: damaged.*a figure of"):
        read_seeds([run])


def test_no_change_has_no_sign(tmp_path: Path) -> None:
    maps = ({"Original": 0.5, "Slim": 0.5001}, {"Original": 0.5, "Slim": 0.4995})
    runs = [written(tmp_path / str(seed), own, seed=seed) for seed, own in enumerate(maps)]
    change = read_seeds(runs).rows[1].change
    assert change is not None and change.text("+.3f") == "0.000 ± 0.000"
