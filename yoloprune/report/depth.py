"""What a report says of blocks that were removed before channels were."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from yoloprune.counting import counted
from yoloprune.graph.edits import Reading
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import Exactness
from yoloprune.report.pruning import cost_figures


def depth_line(gone: Sequence[Reading], proof: Exactness) -> str:
    """Which blocks went, and what was proven."""
    names = ", ".join(name for name, _ in gone)
    return (
        f"without {counted(len(gone), 'block')} (before the sums {names}): the rest computes what "
        f"it did beside their outputs times 0, within {proof.relative_error:.2g} in float64"
    )


def depth_report(before: Model, gone: Sequence[Reading], proof: Exactness) -> dict[str, Any]:
    """The entry `depth` of report.json; `before` are the figures of the network with its blocks."""
    return {
        "blocks": [list(reading) for reading in gone],
        "before": cost_figures(before.cost),
        "proof": asdict(proof) | {"dtype": "float64", "passed": proof.passed},
    }
