from pathlib import Path

import pytest

from yoloprune.data.annotated import annotated_paths, film_paths
from yoloprune.data.sources import Video
from yoloprune.errors import DatasetError


def test_equal_names_in_different_folders_are_kept_apart(tmp_path: Path) -> None:
    images = [tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg", tmp_path / "y" / "z" / "b.png"]
    out = tmp_path / "out"
    assert annotated_paths(images, out) == [
        out / "x" / "a.jpg",
        out / "y" / "a.jpg",
        out / "y" / "z" / "b.png",
    ]
    same = [tmp_path / name for name in ("a.bmp", "a.jpg", "a.png", "a.webp")]
    assert annotated_paths(same, out) == [
        out / name for name in ("a.jpg", "a.jpg.jpg", "a.png", "a.jpg.jpg.jpg")
    ]


def test_films_keep_apart_from_pictures_and_from_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    films = [
        Video(address=str(tmp_path / name), title=name, name=Path(name).stem, is_live=False)
        for name in ("a.avi", "a.mov", "b.mp4")
    ]
    assert film_paths(films, [out / "b.mp4"], out) == [
        out / name for name in ("a.mp4", "a.mp4.mp4", "b.mp4.mp4")
    ]


def test_a_film_is_never_replaced(tmp_path: Path) -> None:
    film = Video(address=str(tmp_path / "a.mp4"), title="a.mp4", name="a", is_live=False)
    with pytest.raises(DatasetError, match=r"would replace .*a\.mp4: choose another folder"):
        film_paths([film], [], tmp_path)
