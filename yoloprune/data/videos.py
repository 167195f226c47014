"""Frames of films, cameras and streams, and films of frames, by OpenCV."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from yoloprune.data.images import Image
from yoloprune.data.sources import Video
from yoloprune.errors import DatasetError

# OpenCV and FFmpeg would write to the terminal what is said in one line here. FFmpeg is told once,
# when it is first used.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

WAIT = 10.0
"""Seconds that a stream may keep silent, before its first frame or after."""

_USUAL_RATE = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """An opened video: its frames as RGB, how many a second, and how many if that is known."""

    images: Iterator[Image]
    rate: float
    count: int | None


@contextmanager
def open_video(video: Video) -> Iterator[Frames]:
    """Give the frames of a video; the camera or connection is closed afterwards.

    Raises `DatasetError` if it cannot be opened or has no first frame. A stream that says nothing
    for `WAIT` seconds is over.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = _capture(video)
    try:
        if not capture.isOpened():
            raise DatasetError(_why_not(video))
        images = _images(capture)
        if (first := next(images, None)) is None:
            raise DatasetError(f"{video.title}: no frame can be decoded: not a video, or damaged")
        rate = capture.get(cv2.CAP_PROP_FPS)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        yield Frames(
            images=chain([first], images),
            rate=rate if 0 < rate < 1000 else _USUAL_RATE,
            count=None if video.is_live or count < 1 else count,
        )
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(level)


@contextmanager
def film(path: Path, rate: float, width: int, height: int) -> Iterator[Callable[[Image], None]]:
    """Give a function that adds an RGB frame of this size to a new .mp4 file."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (width, height))
    try:
        if not writer.isOpened():
            raise DatasetError(f"{path.name}: cannot write {width}x{height} video")
        yield lambda image: writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


def _capture(video: Video) -> cv2.VideoCapture:
    if isinstance(video.address, int) or not video.is_live:
        return cv2.VideoCapture(video.address)
    wait = round(1000 * WAIT)
    return cv2.VideoCapture(
        video.address,
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, wait, cv2.CAP_PROP_READ_TIMEOUT_MSEC, wait],
    )


def _why_not(video: Video) -> str:
    if isinstance(video.address, int):
        return f"{video.title}: cannot be opened: is it plugged in, and used by nobody else?"
    if video.is_live:
        return f"{video.title}: no video comes from there: check the address and the network"
    return f"{video.title}: no frame can be decoded: not a video, or damaged"


def _images(capture: cv2.VideoCapture) -> Iterator[Image]:
    while True:
        decoded, frame = capture.read()
        if not decoded:
            return
        yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
