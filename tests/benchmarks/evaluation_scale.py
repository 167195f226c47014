"""Time and peak memory of `evaluate` on many images, by protocol.

The images are made: 64 to 100 px, with one to eight blots each, labeled with random classes; a
trained network finds many faint things in them. Each measurement is a process of its own, its start
included.
Usage: python tests/benchmarks/evaluation_scale.py CFG WEIGHTS [IMAGES ...]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from yoloprune.data.images import write_image
from yoloprune.detection.decode import class_count
from yoloprune.frontends.darknet.parser import read_cfg

PROTOCOLS = ("case-study", "coco")


def make_data(folder: Path, images: int, classes: int) -> None:
    generator = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(images):
        height, width = generator.integers(64, 101, 2).tolist()
        coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height))
        lines = []
        for _ in range(generator.integers(1, 9)):
            center = generator.uniform(0.15, 0.85, 2)
            size = np.minimum(generator.uniform(0.08, 0.6, 2), 2 * np.minimum(center, 1 - center))
            middle, axes = (
                (values * (width, height)).astype(int).tolist() for values in (center, size / 2)
            )
            color = generator.integers(0, 256, 3).tolist()
            cv2.ellipse(image, middle, axes, 0, 0, 360, color, -1)
            box = " ".join(f"{value:.6f}" for value in (*center, *size))
            lines.append(f"{generator.integers(classes)} {box}\n")
        write_image(folder / "images" / f"{number:06d}.jpg", np.asarray(image, np.uint8))
        (folder / "labels" / f"{number:06d}.txt").write_text("".join(lines))


def measure(*command: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak megabytes of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
    seconds = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - start, seconds, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    cfg, weights = sys.argv[1:3]
    counts = [int(text) for text in sys.argv[3:]] or [2000, 20000]
    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name), max(counts), class_count(read_cfg(Path(cfg))))
        for count in counts:
            for protocol in PROTOCOLS:
                wall, processor, peak = measure(
                    sys.executable, "-m", "yoloprune", "evaluate", cfg, weights, "--data", name,
                    "--limit", str(count), "--protocol", protocol, "--quiet",
                )  # fmt: skip
                print(
                    f"{count:6d} images, {protocol:10}: {wall:6.1f} s, "
                    f"{1e3 * wall / count:5.2f} ms an image "
                    f"({1e3 * processor / count:5.2f} ms of processor time), peak {peak:.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
