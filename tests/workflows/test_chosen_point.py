import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.workflows.detectors import cfg  # noqa: F401
from yoloprune.errors import UsageError, VerificationError
from yoloprune.files import write_json
from yoloprune.graph.model import Model
from yoloprune.workflows.chosen_point import Int8Point, read_point, take_point
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.levers import pull_levers
from yoloprune.workflows.models import load
from yoloprune.workflows.pruned_folder import read_cut


def test_a_point_is_what_the_sweep_made(
    detector: Model,
    painted: Path,
    cfg: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    out, seen = tmp_path / "out", painted / "images" / "train"
    pulled = pull_levers(
        detector, painted, seen, out, levers=["width"], shares=[0.5], split="test",
        calibration_images=4, distill_minutes=0.0001,
    )  # fmt: skip
    whole, half = pulled.points
    assert (whole.setting.keep_macs, half.setting.keep_macs) == (1, 0.5)
    # As if it had been quantized, which takes its time.
    file = out / half.setting.folder / "int8.onnx"
    shutil.copy(out / half.file, file)
    setting = replace(half.setting, int8=True)
    small = replace(half, setting=setting, file=setting.file)
    write_json(out / setting.record, asdict(small))
    replace(pulled, points=(whole, half, small)).save(out)
    sweep = out / "sweep.json"
    assert read_point(sweep, 1) == half
    taken = take_point(detector, sweep, 1, tmp_path / "half")
    assert isinstance(taken, Cut) and taken.latency == half.time
    assert taken.recovery is not None and taken.recovery["distillation"]["steps"] == 1
    slim = load(tmp_path / "half")
    assert slim.cost.macs <= 0.5 * detector.cost.macs
    assert read_cut(tmp_path / "half", detector).slim.sha256 == slim.sha256
    found = take_point(detector, sweep, 2, tmp_path / "int8")
    assert isinstance(found, Int8Point) and "int8; mAP@0.5" in str(found)
    assert (tmp_path / "int8" / "slim.onnx").read_bytes() == file.read_bytes()
    assert json.loads((tmp_path / "int8" / "report.json").read_text())["point"]["setting"]["int8"]

    for number in (1, 2):
        with pytest.raises(UsageError, match="holds a network of the sweep: choose another folder"):
            take_point(detector, sweep, number, out / half.setting.folder)
    with pytest.raises(UsageError, match="no point #3: the last is #2"):
        take_point(detector, sweep, 3, tmp_path / "none")
    with pytest.raises(UsageError, match="of another network than net"):
        take_point(cfg, sweep, 1, tmp_path / "none")
    with pytest.raises(UsageError, match=r"painted.*: cannot read the file|damaged"):
        read_point(painted, 0)
    edited = json.loads(sweep.read_text())
    for name, value, told in (
        ("map50", math.inf, r"mAP@0.5 must be in \[0, 1\], not inf"),
        ("map50", math.nan, r"mAP@0.5 must be in \[0, 1\], not nan"),
        ("time", edited["points"][2]["time"] | {"share": math.inf}, "times must be above 0, not"),
        ("file", str(file), "its file must be .*-0.5/int8.onnx, not"),
        ("file", "../int8.onnx", "its file must be .*-0.5/int8.onnx, not"),
        ("sha256", "0" * 64, "its point #2 is not the one in .*int8.json: sweep again"),
    ):
        points = [*edited["points"][:2], edited["points"][2] | {name: value}]
        other = out / "edited.json"
        other.write_text(json.dumps(edited | {"points": points}))
        with pytest.raises(UsageError, match=told):
            take_point(detector, other, 2, tmp_path / "none")
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(VerificationError, match="not the file that the sweep made"):
        take_point(detector, sweep, 2, tmp_path / "none")
    file.unlink()
    with pytest.raises(UsageError, match="is not beside it: sweep again"):
        take_point(detector, sweep, 2, tmp_path / "none")
    assert not (tmp_path / "none").exists()
