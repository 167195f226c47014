from pathlib import Path

import cv2

from yoloprune.report.sweep_plot import SweepPoint, write_sweep_picture


def test_each_criterion_has_a_line_of_its_own(tmp_path: Path) -> None:
    points = [
        SweepPoint(criterion=name, keep_macs=share, figure=share * slope)
        for name, slope in (("l2", 0.5), ("fpgm", 0.1))
        for share in (0.8, 0.5)
    ]
    colors = []
    for number, own in enumerate((points[:2], points)):
        path = tmp_path / f"{number}.png"
        write_sweep_picture(path, own, 0.5, "mAP@0.5")
        picture = cv2.imread(str(path))
        assert picture is not None and picture.shape == (480, 720, 3)
        bright = picture.max(axis=2).astype(int) - picture.min(axis=2)
        colors.append((bright > 60).sum())
    assert colors[1] > 1.3 * colors[0] > 0
