"""What channel counts are rounded to where nobody says: what suits the engines that are here.

That is measured once for each engine, its version and the processor, and kept.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from yoloprune.engines.benchmark import default_engines
from yoloprune.engines.quantum import QUANTA, channel_quantum
from yoloprune.engines.table import DEFAULT_ENGINE, engine_named
from yoloprune.errors import GraphError, UsageError
from yoloprune.graph.graph import Graph
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.measures import MEASURES, UNEVEN
from yoloprune.pruning.solve import USUAL_MULTIPLE, coarsest
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.measured import cache_file, remembered

FINEST = 4
"""Steps in which time is looked for, where an engine wants no multiple: finer ones take long."""


def suited_multiple(reporter: Reporter = SILENT) -> int:
    """The coarsest multiple that an installed engine wants of channel counts, on this processor.

    Torch, which is everywhere, is none that networks are cut for; without another engine it is
    `USUAL_MULTIPLE`.
    """
    engines = (name for name in default_engines() if name != DEFAULT_ENGINE)
    return max((_measured(name, reporter) for name in engines), default=USUAL_MULTIPLE)


def suited_to(engine: str, reporter: Reporter = SILENT) -> int:
    """The multiple that one engine wants of channel counts, and no finer than `FINEST`."""
    return max(_measured(engine, reporter), FINEST)


def _measured(engine: str, reporter: Reporter) -> int:
    """The multiple that an engine wants; 1, which asks for nothing, where it cannot be timed."""
    with suppress(GraphError), reporter.stage(_finding(engine)):
        file = quantum_file(engine)
        return int(remembered(partial(channel_quantum, engine), file, known=(*QUANTA, 1)))
    return 1


def quantum_file(engine: str) -> Path:
    """Where it stands what an engine wants."""
    times = cache_file(engine, engine_named(engine).version, 1)
    return times.with_name(f"{times.stem}.multiple.txt")


def _finding(engine: str) -> str:
    return f"finding which channel counts suit {engine_named(engine).title}"


def rounded(
    graph: Graph,
    keep: Mapping[str, float],
    min_channels: int,
    multiple_of: int | None,
    max_layer_cut: float,
    compensation: Compensation,
    reporter: Reporter,
) -> Budget:
    """The budget, rounded to what suits or the next that lets it be met, unless one is asked for.

    Warns of a finer one than usual. Raises `UsageError` for an unknown measure.
    """
    if unknown := [name for name in keep if name not in MEASURES]:
        raise UsageError(f"measure {unknown[0]!r} is unknown (known: {', '.join(MEASURES)})")
    budget = Budget(
        limits=dict(keep),
        min_channels=min_channels,
        multiple_of=1 if multiple_of is None else multiple_of,
        max_layer_cut=max_layer_cut,
    )
    if multiple_of is not None or UNEVEN & keep.keys():
        return budget
    suited = suited_multiple(reporter)
    found = coarsest(analyze(graph), budget, suited, compensation=compensation)
    if found is None:
        return budget
    if found.multiple_of != suited:
        reporter.warn(
            f"channel counts are rounded to multiples of {found.multiple_of}: with multiples of "
            f"{suited}, which run faster, the budget cannot be met"
        )
    return found
