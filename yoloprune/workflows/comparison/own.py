"""What this package does, as rows: each a criterion and what follows it."""

from collections.abc import Callable, Iterator
from functools import partial

from yoloprune.errors import YoloPruneError
from yoloprune.pruning.choices import Scope
from yoloprune.workflows.comparison.tool import Made, Outcome, Task, Tool
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover

EXACT, REFITTED = "yes", "yes, then re-fitted"


def _made(task: Task, cut: Callable[[Task, float], Cut]) -> Iterator[Outcome]:
    for share in task.shares:
        try:
            found = cut(task, share)
        except YoloPruneError as error:
            yield error
            continue
        exact = EXACT if found.recovery is None else REFITTED
        yield Made(slim=found.slim, exact=exact, cut=found)


def _best(task: Task, share: float) -> Cut:
    """Scored and re-fitted on the images, where there are any."""
    if task.calibration is None:
        return _cut(task, share)
    found = _cut(task, share, criterion="reconstruction")
    return recover(
        found, task.calibration, seed=task.seed, device=task.device, reporter=task.reporter
    )


def _cut(
    task: Task, share: float, criterion: str = PRUNING.criterion, scope: Scope = PRUNING.scope
) -> Cut:
    return prune(
        task.dense,
        {"macs": share},
        criterion=criterion,
        scope=scope,
        multiple_of=task.multiple_of,
        calibration=task.calibration,
        seed=task.seed,
        device=task.device,
        reporter=task.reporter,
    )


OURS = Tool(
    name="ours",
    about="scored and re-fitted on the images; without any, as l2",
    make=partial(_made, cut=_best),
)
L2 = Tool(
    name="l2",
    about="the smallest kernels of the whole network",
    make=partial(_made, cut=partial(_cut, criterion="l2")),
)
UNIFORM = Tool(
    name="uniform",
    about="the smallest kernels, the same share of each layer",
    make=partial(_made, cut=partial(_cut, criterion="l2", scope=Scope.LAYER)),
)
