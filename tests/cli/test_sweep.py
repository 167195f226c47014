"""`sweep` as a user types it."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.training.painted import paint
from yoloprune.workflows import judges, sweep


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = paint(tmp_path / "data", train=20, test=4)
    (root / "two.names").write_text("rectangle\nother\n")
    return root


def test_a_table_a_document_and_a_picture(pair: Pair, data: Path, tmp_path: Path) -> None:
    result = run("sweep", pair.cfg, pair.weights, "--data", data, "--keep-macs", 0.9, 0.5, 0.7,
                 "--criterion", "l2", "--criterion", "fpgm", "--split", "test",
                 "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line.startswith("| 0")]
    assert [len(row) for row in rows] == [3, 3, 3]
    shares = [float(row[0]) for row in rows]
    assert shares == sorted(shares, reverse=True) and shares[-1] <= 0.5
    document = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert len(document["points"]) == 6 and document["images"] == 4
    assert document["split"] == "test"
    evaluated = run("evaluate", pair.cfg, pair.weights, "--data", data, "--json")
    figures = json.loads(evaluated.stdout)["evaluations"][0]
    assert document["dense"] == figures["map50"]
    assert cv2.imread(str(tmp_path / "out" / "sweep.png")).shape[0] > 300


def test_criteria_that_look_at_images_can_be_compared(
    pair: Pair, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[Path]] = {}
    measure, judge = sweep.scores_on_images, judges.evaluate

    def scores_on_images(name: str, *given: Any, **more: Any) -> Any:
        if given[1] is not None:
            seen["scored"] = {path for path, _, _ in given[1].samples}
        return measure(name, *given, **more)

    def evaluate(network: Any, dataset: Any, protocol: Any) -> Any:
        seen["judged"] = {image.path for image in dataset.images}
        return judge(network, dataset, protocol)

    monkeypatch.setattr(sweep, "scores_on_images", scores_on_images)
    monkeypatch.setattr(judges, "evaluate", evaluate)
    command = ["sweep", pair.cfg, pair.weights, "--data", data, "--keep-macs", 0.6,
               "--criterion", "l2", "--criterion", "taylor", "--json"]  # fmt: skip
    result = run(*command)
    assert result.exit_code == 0, (result.output, result.exception)
    points = json.loads(result.stdout)["points"]
    assert [point["criterion"] for point in points] == ["l2", "taylor"]
    assert all(point["keep_macs"] <= 0.6 for point in points)
    # Two of the twenty training images are held out to judge by, and not shown before.
    assert len(seen["scored"]) == 18 and len(seen["judged"]) == 2
    assert not seen["scored"] & seen["judged"]
    assert "no training image is left" in refused(*command, "--split", "train")
    seen.clear()
    assert "'magic' is unknown" in refused(*command, "--criterion", "magic")
    assert "smallest reachable" in refused(*command, "--keep-macs", 1e-5)
    assert not seen


def test_a_budget_is_not_chosen_by_the_test_images(pair: Pair, data: Path) -> None:
    shutil.rmtree(data / "images" / "test")
    result = run("sweep", pair.cfg, pair.weights, "--data", data, "--keep-macs", 0.7,
                 "--criterion", "l2", "--json")  # fmt: skip
    document = json.loads(result.stdout)
    assert document["split"] == "validation" and document["images"] == 2


def test_senseless_input_is_refused_before_evaluating(
    pair: Pair, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[object] = []
    monkeypatch.setattr(judges, "evaluate", lambda *arguments: evaluated.append(arguments))
    start = ("sweep", pair.cfg, pair.weights, "--data", data)
    assert "must be in (0, 1)" in refused(*start, "--keep-macs", 1.5)
    assert "unknown" in refused(*start, "--criterion", "magic")
    assert "smallest reachable" in refused(*start, "--keep-macs", 0.000001)
    (data / "file").touch()
    assert "is a file" in refused(*start, "--out", data / "file")
    assert not evaluated
