"""What was measured on this machine, kept in the user's cache folder.

It is kept by engine, its version, threads and processor, so that the next run measures only what is
new.
"""

import hashlib
import os
import platform
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from yoloprune.errors import PlanError
from yoloprune.files import read_file, write_text
from yoloprune.graph.graph import Graph
from yoloprune.pruning.layer_times import Layer, Measure, measurable, read_timings

LONGEST_NUMBER = 64
"""Bytes of a file that holds one."""


def remembering(measure: Measure, cache: Path) -> Measure:
    """The same, of what is not in the cache.

    A layer's time is asked for as if it was measured now: estimates, and so plans, go by what this
    network asked for, and not by what others left in the cache.
    """
    known = known_layers(cache)

    def remembered(layers: Collection[Layer]) -> dict[Layer, float]:
        new = measure([layer for layer in layers if layer not in known])
        return {layer: known[layer] if layer in known else new[layer] for layer in layers}

    return remembered


def remembered(
    measure: Callable[[], float], path: Path, known: Collection[float] | None = None
) -> float:
    """A measured number, from this file if it was measured before.

    It is measured anew where the file says what nothing takes, or none of those that are `known`.
    """
    with suppress(OSError, ValueError):
        found = float(read_file(path, LONGEST_NUMBER))
        if found in known if known is not None else measurable(found):
            return found
    found = measure()
    with writing():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{found:.6g}\n")
    return found


def writing() -> AbstractContextManager[None]:
    """Around what is written to the cache: where it cannot be, the next run measures anew."""
    return suppress(OSError)


def network_file(cache: Path, *graphs: Graph) -> Path:
    """Where the milliseconds of whole networks stand, beside those of layers."""
    digests = "-".join(graph.digest()[:16] for graph in graphs)
    return cache.parent / "networks" / f"{cache.stem}-{digests}.txt"


def known_layers(path: Path) -> dict[Layer, float]:
    """Layers that were measured before; none where the file is not there or damaged."""
    try:
        return read_timings(path).layers
    except PlanError:
        return {}


def cache_file(engine: str, version: str, threads: int) -> Path:
    """Where the times of layers in an engine stand."""
    # Its specification says that a relative path is to be ignored.
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = told if told.is_absolute() else Path.home() / ".cache"
    folder = root / "yoloprune" / "timings"
    # A version may name the branch that it was built of: "2026.4.1-releases/2026/4".
    said = re.sub(r"[^\w.+-]", "_", version)
    return folder / f"{engine}-{said}-{threads}-{_processor()}.csv"


def _processor() -> str:
    """What tells this processor from others, kernels being chosen by it."""
    told = [platform.machine(), platform.processor()]
    information = Path("/proc/cpuinfo")
    if information.exists():
        wanted = ("model name", "flags", "Features", "CPU part", "cache size")
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(wanted)})
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
