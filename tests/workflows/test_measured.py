"""What is kept of what was measured here."""

from pathlib import Path

import pytest

from yoloprune.workflows.measured import cache_file, known_layers, remembered


def test_a_number_is_measured_once_and_anew_where_its_file_is_damaged(tmp_path: Path) -> None:
    path, numbers = tmp_path / "kept" / "number.txt", iter([1.5, 2.5])
    assert [remembered(lambda: next(numbers), path) for _ in range(2)] == [1.5, 1.5]
    path.write_text("one and a half")
    assert remembered(lambda: next(numbers), path) == 2.5


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "0", "1e-300", "1e300", "1" * 1000])
def test_what_nothing_takes_is_not_believed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "number.txt"
    path.write_text(text)
    assert remembered(lambda: 3.0, path) == 3.0
    assert path.read_text() == "3\n"
    path.write_text("5")
    assert remembered(lambda: 8.0, path, known=(4, 8)) == 8.0


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert remembered(lambda: 3.0, tmp_path / "file" / "cache" / "number.txt") == 3.0


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert cache_file("torch", "2", 1).is_relative_to(Path.home())


def test_a_version_that_names_a_branch_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_file("openvino", "2026.4.1-e213-releases/2026/4", 2)
    assert not path.parent.exists()
    assert path.name.startswith("openvino-2026.4.1-e213-releases_2026_4-2-")
    assert known_layers(path) == {}
