"""A crash leaves the old file or the new one, and nothing that stays for ever."""

import errno
import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from tests.processes import holding
from yoloprune import files
from yoloprune.errors import DatasetError, RunError, UsageError
from yoloprune.files import (
    naming_errors,
    temporary_folder,
    write_atomically,
    write_folder,
    write_text,
)


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


def test_a_folder_that_somebody_still_writes_is_not_abandoned(tmp_path: Path) -> None:
    # Its own time of change stays behind where only its subfolders are written to.
    (tmp_path / "left").mkdir()
    left = tmp_path / ".left-0123abcd.tmp"
    left.mkdir()
    with holding(left) as other:
        age(left, hours=2)
        for _ in range(2):
            with temporary_folder(tmp_path, "left"):
                pass
        assert left.exists()
        other.kill()
        other.join()
    with temporary_folder(tmp_path, "left"):
        pass
    assert not left.exists()


def test_a_folder_that_must_be_new_is_never_one_that_is_used(tmp_path: Path) -> None:
    write_text(tmp_path / "used" / "a", "")
    with pytest.raises(UsageError, match="used: the folder is not empty"):
        write_folder(tmp_path / "used", must_be_new=True).__enter__()
    with pytest.raises(UsageError, match="a: a file of this name is in the way"):
        write_folder(tmp_path / "used" / "a", must_be_new=True).__enter__()
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with write_folder(tmp_path / name, must_be_new=True) as temporary:
            (temporary / "deep" / "er").mkdir(parents=True)
        assert names(tmp_path / name) == ["deep"]
    assert names(tmp_path) == ["empty", "new", "used"]


def test_a_folder_in_which_another_process_works_is_left_alone(tmp_path: Path) -> None:
    with (
        holding(tmp_path / "run"),
        pytest.raises(RunError, match="another process is working in this folder"),
        write_folder(tmp_path / "run") as temporary,
    ):
        (temporary / "a").write_text("")
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == []


def test_a_folder_that_another_process_is_writing_is_refused(tmp_path: Path) -> None:
    with holding(tmp_path / ".slim-0123abcd.tmp") as other:
        with pytest.raises(RunError, match="slim: another process is working in this folder"):
            write_folder(tmp_path / "slim").__enter__()
        other.kill()
        other.join()
    with write_folder(tmp_path / "slim"):
        pass
    assert (tmp_path / "slim").is_dir()


def test_a_link_to_a_folder_is_written_into(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with write_folder(tmp_path / "link") as temporary:
        # The link's own folder may be on another disk.
        assert temporary.parent == tmp_path / "link"
        (temporary / "a").write_text("")
    assert names(tmp_path / "elsewhere") == ["a"] and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["x" * 250, "x" * 247 + ".weights", "ü" * 125, f"a.{'x' * 250}"])
def test_a_name_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "whole")
    assert names(tmp_path) == [name]
    (tmp_path / name).unlink()
    with write_folder(tmp_path / name) as temporary:
        write_text(temporary / name, "")
    assert names(tmp_path / name) == [name]


def test_errors_name_the_target(tmp_path: Path) -> None:
    target = tmp_path / "slim"
    full = os.strerror(errno.ENOSPC)
    with pytest.raises(OSError, match=full) as caught, write_atomically(target / "a"):
        raise OSError(errno.ENOSPC, full)
    assert caught.value.filename == str(target / "a")
    target.rmdir()
    with pytest.raises(FileNotFoundError) as missing, write_atomically(target / "a") as temporary:
        shutil.rmtree(target)
    assert missing.value.filename == str(target / "a")

    with pytest.raises(OSError, match=full) as caught, write_folder(target) as temporary:
        raise OSError(errno.ENOSPC, full)
    assert caught.value.filename == str(target)
    with pytest.raises(FileNotFoundError) as missing, write_folder(target) as temporary:
        (temporary / "no" / "file").write_text("")
    assert missing.value.filename == str(target / "no" / "file")
    with pytest.raises(OSError, match=full) as caught, write_folder(target) as temporary:
        # As shutil does: from one name to another.
        raise OSError(errno.ENOSPC, full, "source.png", None, str(temporary / "a.png"))
    assert caught.value.filename == str(target / "a.png")
    with pytest.raises(DatasetError) as refused, write_folder(target) as temporary:
        raise DatasetError(f"{temporary / 'a.png'}: cannot encode")
    assert str(refused.value) == f"{target / 'a.png'}: cannot encode"
    # What is about something else stays as it is.
    with pytest.raises(FileNotFoundError) as missing, naming_errors(target, temporary):
        (tmp_path / "other").read_text()
    assert missing.value.filename == str(tmp_path / "other")
    assert names(tmp_path) == []
