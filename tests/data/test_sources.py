from pathlib import Path

import pytest

from yoloprune.data.sources import Video, find_sources
from yoloprune.errors import DatasetError, UsageError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_words_are_folders_files_films_and_patterns_each_once(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "a.jpg", photos / "b.png", photos / "c.txt", tmp_path / "clip.MP4")
    words = [str(photos), str(photos / "a.jpg"), str(tmp_path / "*"), str(tmp_path / "clip.MP4")]
    images, videos = find_sources(words, tmp_path / "out")
    assert images == (photos / "a.jpg", photos / "b.png")
    path = str(tmp_path / "clip.MP4")
    assert videos == (Video(address=path, title=path, name="clip", is_live=False),)


def test_what_an_earlier_run_wrote_is_left_out_beside_others(tmp_path: Path) -> None:
    touch(tmp_path / "a.jpg", tmp_path / "out" / "a.jpg")
    assert find_sources([str(tmp_path)], tmp_path / "out")[0] == (tmp_path / "a.jpg",)
    alone = str(tmp_path / "out")
    assert find_sources([alone], tmp_path / "out")[0] == (tmp_path / "out" / "a.jpg",)


def test_cameras_and_streams_are_named_without_what_is_secret(tmp_path: Path) -> None:
    words = ["2", "rtsp://me:secret@host:554/front door?key=secret", "HTTP://host/"]
    images, videos = find_sources(words, tmp_path)
    assert images == ()
    assert [(video.title, video.name) for video in videos] == [
        ("camera 2", "camera-2"),
        ("rtsp://host:554/front door", "host-554-front-door"),
        ("http://host/", "host"),
    ]
    assert [video.address for video in videos] == [2, *words[1:]]
    assert all(video.is_live for video in videos)


def test_a_file_named_like_a_camera_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    touch(Path("7.jpg"), Path("7", "a.jpg"))
    assert find_sources(["7"], tmp_path / "out") == ((Path("7", "a.jpg"),), ())


def test_what_is_nothing_to_look_at_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no image, video or folder matches"):
        find_sources([str(tmp_path / "*.jpg")], tmp_path / "out")
    with pytest.raises(UsageError, match=r"gopher:// cannot be opened \(known: http, "):
        find_sources(["gopher://a"], tmp_path)
    with pytest.raises(UsageError, match="not an address"):
        find_sources(["http://[::1/"], tmp_path)
    with pytest.raises(UsageError, match="not a pattern"):
        find_sources([str(tmp_path / "**.jpg")], tmp_path)
