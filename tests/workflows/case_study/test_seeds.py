import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from yoloprune.errors import RunError, UsageError
from yoloprune.workflows.case_study.seeds import read_seeds


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


def test_studies_of_something_else_are_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "0", {"Original": 0.5}, seed=0)
    longer = written(tmp_path / "1", {"Original": 0.5}, seed=1, width=2)
    with pytest.raises(UsageError, match="in more than the seed: width"):
        read_seeds([first, longer])
    with pytest.raises(UsageError, match="the same seed"):
        read_seeds([first, first])
    with pytest.raises(RunError, match=r"report\.json"):
        read_seeds([first, tmp_path])
