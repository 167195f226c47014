"""Pages of pruned folders, as Python users write them."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.frontends.onnx.models import residual
from yoloprune.engines.side_by_side import SideBySide
from yoloprune.errors import UsageError
from yoloprune.graph.model import Model
from yoloprune.report.study import ORIGINAL, PRUNED
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.report import write_page


def test_a_recovered_darknet_network(detector: Model, painted: Path, tmp_path: Path) -> None:
    cut = recover(prune(detector, {"macs": 0.6}), painted, calibration_images=4)
    cut.save(tmp_path / "slim")
    study = write_page(detector, tmp_path / "slim", data=painted, limit=2)
    original, pruned = study.named(ORIGINAL), study.named(PRUNED)
    assert original is not None and pruned is not None
    assert pruned.params == cut.slim.cost.params and original.accuracy.keys() == {"coco"}
    assert "recovered (reconstruct) with 4 images" in pruned.note
    assert study.protocol == "coco" and "of 2 images" in study.chosen
    page = (tmp_path / "slim" / "report.html").read_text(encoding="utf-8")
    assert "layer of the cfg" in page and "./darknet detector test" in page
    assert "before its recovery" in page


def test_a_network_that_is_no_detector_has_a_page_without_pictures(tmp_path: Path) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    prune(tmp_path / "net.onnx", {"macs": 0.6}, multiple_of=1).save(tmp_path / "slim")
    study = write_page(tmp_path / "net.onnx", tmp_path / "slim")
    assert study.dataset is None and not study.examples
    assert "On the same images" not in (tmp_path / "slim" / "report.html").read_text()
    with pytest.raises(UsageError, match="no decoder is known"):
        write_page(tmp_path / "net.onnx", tmp_path / "slim", images=tmp_path)


def test_a_page_says_how_slim_was_timed(tmp_path: Path) -> None:
    onnx.save_model(residual(), tmp_path / "net.onnx")
    took = SideBySide(engine="torch", threads=1, runs=7, dense_ms=4.0, slim_ms=5.0, share=1.25)
    cut = prune(tmp_path / "net.onnx", {"macs": 0.6}, multiple_of=1)
    replace(cut, latency=took).save(tmp_path / "slim")
    study = write_page(tmp_path / "net.onnx", tmp_path / "slim")
    pruned = study.named(PRUNED)
    assert pruned is not None
    assert pruned.note.startswith("slim is not faster than dense: it takes 1.25 of dense's time")
    assert pruned.note in (tmp_path / "slim" / "report.html").read_text().replace("&#39;", "'")
    again = read_cut(tmp_path / "slim", tmp_path / "net.onnx")
    assert again.latency == took
