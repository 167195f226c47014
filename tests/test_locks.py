"""One process at a time works in a folder, and nothing of the lock is left."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.processes import holding
from yoloprune import locks
from yoloprune.errors import RunError, UsageError
from yoloprune.locks import in_use, locked


def test_another_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    with holding(tmp_path / "run") as other:
        assert in_use(tmp_path / "run")
        with pytest.raises(RunError, match="run: another process is working in this folder"):
            locked(tmp_path / "run").__enter__()
        other.kill()
        other.join()
        with locked(tmp_path / "run"):
            assert in_use(tmp_path / "run")
    assert not in_use(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_child_does_not_hold_what_its_parent_held(tmp_path: Path) -> None:
    def leave_a_child() -> None:
        if not os.fork():
            time.sleep(2)
            os._exit(0)

    with holding(tmp_path, leave_a_child) as other:
        other.kill()
        other.join()
        with locked(tmp_path):
            pass


def test_a_process_may_hold_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path):
        with locked(tmp_path):
            pass
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_a_folder_that_stays_empty_is_not_left(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        pass
    with locked(tmp_path / "used"):
        (tmp_path / "used" / "a").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["used"]
    (tmp_path / "used" / "a").unlink()
    with locked(tmp_path / "used"):
        pass
    assert (tmp_path / "used").is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file is a file: choose another folder"):
        locked(tmp_path / "file").__enter__()


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with locked(tmp_path):
        pass
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(tmp_path):
        pass
