"""What is kept of what was measured here."""

from pathlib import Path

import pytest

from yoloprune.workflows.measured import cache_file, known_layers, remembered


def test_a_number_is_measured_once_and_anew_where_its_file_is_damaged(tmp_path: Path) -> None:
    path, numbers = tmp_path / "kept" / "number.txt", iter([1.5, 2.5])
    assert [remembered(lambda: next(numbers), path) for _ in range(2)] == [1.5, 1.5]
    path.write_text("one and a half")
    assert remembered(lambda: next(numbers), path) == 2.5


def test_a_version_that_names_a_branch_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = cache_file("openvino", "2026.4.1-e213-releases/2026/4", 2)
    path.write_text("")
    assert path.name.startswith("openvino-2026.4.1-e213-releases_2026_4-2-")
    assert known_layers(path) == {}
