from pathlib import Path

import cv2

from yoloprune.report.levers_plot import Spot, write_levers_picture


def test_a_dot_a_network(tmp_path: Path) -> None:
    spots = [
        Spot(ms=10.0, map50=0.5, name="320x320", int8=False),
        Spot(ms=6.0, map50=0.49, name="320x320, int8", int8=True),
    ]
    write_levers_picture(tmp_path / "a.png", spots[:1], [0])
    write_levers_picture(tmp_path / "b.png", spots, [0, 1])
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert one is not None and two is not None and one.shape == two.shape
    assert (one != two).any()
