from pathlib import Path

import numpy as np
import pytest

from yoloprune.data.sources import Video
from yoloprune.data.videos import film, open_video
from yoloprune.errors import DatasetError


def of_file(path: Path) -> Video:
    return Video(address=str(path), title=str(path), name=path.stem, is_live=False)


def test_a_film_gives_the_frames_that_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    colors = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    with film(path, 10, 64, 48) as add:
        for color in colors:
            add(np.full((48, 64, 3), color, np.uint8))
    with open_video(of_file(path)) as frames:
        assert (frames.rate, frames.count) == (10, 3)
        found = list(frames.images)
    assert [image.shape for image in found] == [(48, 64, 3)] * 3
    for image, color in zip(found, colors, strict=True):
        # The codec loses a little.
        assert np.abs(image.mean(axis=(0, 1)) - color).max() < 8


def test_what_is_no_video_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"damaged")
    with (
        pytest.raises(DatasetError, match=r"clip\.mp4: no frame can be decoded"),
        open_video(of_file(tmp_path / "clip.mp4")),
    ):
        pass
    camera = Video(address=99, title="camera 99", name="camera-99", is_live=True)
    with pytest.raises(DatasetError, match="camera 99: cannot be opened"), open_video(camera):
        pass
    assert capfd.readouterr() == ("", "")


def test_frames_of_a_size_that_no_film_has_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(DatasetError, match=r"clip\.mp4: cannot write 0x0 video"),
        film(tmp_path / "clip.mp4", 10, 0, 0),
    ):
        pass
