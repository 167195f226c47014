"""A crash leaves the old file or the new one, and nothing that stays for ever."""

import os
import stat
import time
from pathlib import Path

import pytest

from yoloprune import files
from yoloprune.files import write_atomically, write_folder, write_text


def age(path: Path, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(path, (then, then))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_renamed_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, int]] = []
    monkeypatch.setattr(
        files.os,
        "fsync",
        lambda file: synced.append((os.fstat(file).st_ino, os.fstat(file).st_size)),
    )
    write_text(tmp_path / "a.txt", "whole")
    assert synced == [((tmp_path / "a.txt").stat().st_ino, 5)]


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ValueError, match="bad"), write_atomically(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise ValueError("bad")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_a_killed_process_left_goes_with_a_later_write(tmp_path: Path) -> None:
    left = []
    for name in ("last.pt", "last.weights", "last-good.pt"):
        with write_atomically(tmp_path / name) as temporary:
            left.append(temporary)
    with write_folder(tmp_path / "last") as temporary:
        left.append(temporary)
    for path in left[:3]:
        path.write_text("half")
        age(path, hours=2)
    left[3].mkdir()
    (left[3] / "a").write_text("half")
    age(left[3], hours=2)
    similar = tmp_path / ".last-december.pt"
    similar.write_text("the user's")
    age(similar, hours=2)

    write_text(tmp_path / "last.pt", "")
    assert [path.exists() for path in left] == [False, True, True, True]
    with write_folder(tmp_path / "last"):
        pass
    assert [path.exists() for path in left] == [False, True, True, False]
    assert similar.exists()


def test_another_process_may_write_the_same_target(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "a") as other:
        other.write_text("theirs")
        write_text(tmp_path / "a", "ours")
    assert (tmp_path / "a").read_text() == "theirs"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_a_new_folder_appears_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    folder = tmp_path / "slim"
    if there == "an empty folder":
        folder.mkdir()
    moves = []
    replace = Path.replace

    def counted(path: Path, target: Path) -> Path:
        moves.append(path)
        return replace(path, target)

    with write_folder(folder) as temporary:
        for name in ("a", "b", "c"):
            (temporary / name).write_text(name)
        monkeypatch.setattr(Path, "replace", counted)
    assert names(folder) == ["a", "b", "c"] and names(tmp_path) == ["slim"]
    # A kill comes before the only move or after it.
    assert moves == [temporary]
    (tmp_path / "ordinary").mkdir()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("slim", "ordinary")]
    assert modes[0] == modes[1]


def test_an_exception_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), write_folder(tmp_path / "slim") as temporary:
        (temporary / "a").write_text("")
        raise ValueError("bad")
    assert names(tmp_path) == []


def test_what_a_folder_holds_besides_stays(tmp_path: Path) -> None:
    for name in ("kept", "replaced", "obsolete"):
        write_text(tmp_path / "slim" / name, "old")
    with write_folder(tmp_path / "slim", obsolete=["obsolete"]) as temporary:
        (temporary / "replaced").write_text("new")
    assert names(tmp_path / "slim") == ["kept", "replaced"]
    assert (tmp_path / "slim" / "replaced").read_text() == "new"


def test_the_working_directory_is_a_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with write_folder(Path()) as temporary:
        (temporary / "a").write_text("")
    assert names(tmp_path) == ["a"]
