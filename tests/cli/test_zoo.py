from pathlib import Path

import pytest

from tests.cli.commands import refused, run
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import read_cfg


def test_zoo_writes_the_full_yolov3(tmp_path: Path) -> None:
    out = tmp_path / "hand.cfg"
    result = run("zoo", "yolov3", "--classes", 1, "--out", out)
    assert "61.5M params, 32.6B MACs" in result.stdout
    assert cost(read_cfg(out)).params == 61_523_734


def test_zoo_takes_width_size_and_anchors(tmp_path: Path) -> None:
    out = tmp_path / "small.cfg"
    anchors = "1,2, 3,4, 5,6, 7,8, 9,10, 11,12"
    run("zoo", "yolov3-tiny", "--width", 0.25, "--size", 320, "--anchors", anchors, "--out", out)
    spec = read_cfg(out)
    assert spec.input_shape == (3, 320, 320)
    assert spec.convs[0].filters == 4
    assert spec.heads[1].anchors == ((1, 2), (3, 4), (5, 6))


@pytest.mark.parametrize(
    "options",
    [
        ["yolov9"],
        ["yolov3", "--classes", "0"],
        ["yolov3", "--width", "0"],
        ["yolov3", "--size", "100"],
        ["yolov3", "--anchors", "1,2,x"],
        ["yolov3", "--anchors", "1,2,3,4"],
    ],
)
def test_zoo_refuses(tmp_path: Path, options: list[str]) -> None:
    refused("zoo", *options, "--out", tmp_path / "x.cfg")
    assert not (tmp_path / "x.cfg").exists()
