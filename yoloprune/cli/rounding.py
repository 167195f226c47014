"""What the channel counts of slim networks are rounded to."""

from typing import Annotated

import typer

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.pruning.budget import ROUNDINGS, coarsest
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget, Compensation
from yoloprune.reporter import Reporter

RoundTo = Annotated[
    int | None,
    typer.Option(
        "--round-to",
        min=1,
        help="Round kept channels up to multiples of this.",
        show_default="8, or finer where the budget needs it",
    ),
]


def usually_rounded(
    spec: NetworkSpec,
    budget: Budget,
    reporter: Reporter,
    compensation: Compensation = Compensation.NONE,
) -> Budget:
    """The budget with the coarsest usual rounding that lets it be met; warns of a finer one.

    A budget that cannot be met at all comes back as it is.
    """
    rounded = coarsest(analyse(spec), budget, compensation=compensation)
    if rounded is None:
        return budget
    if rounded.multiple_of != ROUNDINGS[0]:
        reporter.warn(
            f"channel counts are rounded to multiples of {rounded.multiple_of}: with multiples of "
            f"{ROUNDINGS[0]}, which run faster, the budget cannot be met"
        )
    return rounded
