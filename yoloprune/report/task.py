"""What a report says of a network that was cut to its task before it was pruned."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from yoloprune.graph.edits import Task
from yoloprune.graph.model import Model
from yoloprune.pruning.task import TaskProof
from yoloprune.report.pruning import cost_figures


def task_lines(names: Sequence[str], whole: Mapping[str, str], proof: TaskProof) -> list[str]:
    """What is left of the task and what was proven of it, one statement a line."""
    scores = "bit for bit" if proof.equal else f"within {proof.relative_error:.2g} relative"
    rounding = f" (summed in another order, within {proof.rounding:.2g})" if proof.rounding else ""
    subject = f"the classes {', '.join(names)}" if names else "its task"
    lines = [
        f"cut to {subject}: what is kept of the outputs is the dense "
        f"network's, {scores} in float64{rounding}"
    ]
    lines += [
        f"output {name}: no row of its head could go, {reason}; its kept entries are taken from it"
        for name, reason in whole.items()
    ]
    return lines


def task_report(
    before: Model, task: Task, names: Sequence[str], whole: Mapping[str, str], proof: TaskProof
) -> dict[str, Any]:
    """The entry `task` of report.json; `before` are the figures of the network that was given."""
    return {
        "classes": list(task.classes),
        "names": list(names),
        "before": cost_figures(before.cost),
        "rows_stay": dict(whole),
        "proof": asdict(proof) | {"dtype": "float64"},
    }
