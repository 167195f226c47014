"""How many processor cores this process may use."""

import math
import os
from pathlib import Path, PurePosixPath

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Cores that the affinity of this process and the quota of its control groups leave it."""
    # Where there is no affinity (macOS, Windows), all cores may be used.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(groups: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> float:
    """Cores' worth of time that the control groups allow, infinite without a limit.

    That is how containers are limited. Both versions are read: `cpu.max`, and
    `cpu.cfs_quota_us` with its period (Linux, Documentation/admin-guide/cgroup-v2.rst and
    Documentation/scheduler/sched-bwc.rst). A group's limit holds for those below it.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        # Number, controllers (none in version 2), path of the group.
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            quotas.append(_group_quota(root / group))
    return min(quotas)


def _group_quota(group: Path) -> float:
    """The limit of one group; infinite where it has none or cannot be read."""
    try:
        if (file := group / "cpu.max").is_file():
            words = file.read_text(encoding="utf-8").split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            words = [(group / name).read_text(encoding="utf-8") for name in names]
        quota, period = (float(word) for word in words)
    except (OSError, ValueError):
        # `max` in version 2; no such file in most groups.
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf
