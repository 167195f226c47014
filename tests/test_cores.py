"""Limits as the kernel writes them, in both versions of control groups."""

import math
import os
from pathlib import Path

import pytest

from yoloprune import cores
from yoloprune.cores import available_cores, cpu_quota


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        # In a container the group is the root of what it sees.
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        # A group above has the limit, or a lower one.
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 0.5),
        # Version 1: a container sees the host's path, but only its own group.
        (
            "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n0::/docker/x\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "1\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {}, None),
        ("\nnonsense\n", {}, None),
    ],
)
def test_the_lowest_limit_counts(
    membership: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    write(tmp_path, files | {"membership": membership})
    assert cpu_quota(tmp_path, tmp_path / "membership") == (math.inf if quota is None else quota)


def test_systems_without_control_groups_have_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "missing") == math.inf


@pytest.mark.parametrize(
    ("allowed", "quota", "expected"),
    [({0, 1, 5}, math.inf, 3), ({0, 1, 5}, 1.5, 2), ({0}, 8, 1), ({0, 1}, 0.2, 1)],
)
def test_affinity_and_quota_both_limit(
    allowed: set[int], quota: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert available_cores() == expected
