import json
from pathlib import Path

from tests.cli.commands import refused, run
from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, paint
from tests.workflows.detectors import cfg, data  # noqa: F401


def test_quantize(cfg: Path, data: Path, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "int8.onnx"
    paint(tmp_path / "images/a.png", (32, 32), {(0, 1): GREEN_OBJECT, (2, 2): BLUE_OBJECT})
    weights = cfg.with_suffix(".weights")
    command = ["quantize", cfg, weights, "--images", tmp_path / "images", "-o", out, "--data", data]
    document = json.loads(run(*command, "--json", "--max-loss", 0.5).stdout)
    assert document["judged_images"] == 2 and document["stages"][0]["name"] == "float"
    assert out.exists()
    assert "--max-loss 2 must be in [0, 1)" in refused(*command, "--max-loss", 2)
