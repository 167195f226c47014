"""What this package does, as rows: each a criterion and what follows it."""

from collections.abc import Callable, Iterator
from functools import partial

from yoloprune.errors import UsageError, YoloPruneError
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.recover.network import Recovery
from yoloprune.workflows.comparison.tool import Made, Outcome, Task, Tool
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING
from yoloprune.workflows.prune import prune
from yoloprune.workflows.recover import recover

EXACT = "yes"

AFTERWARDS = {
    Recovery.RECONSTRUCT.value: "yes, then re-fitted",
    Recovery.RECALIBRATE.value: "yes, then recalibrated",
}


def _made(task: Task, cut: Callable[[Task, float], Cut]) -> Iterator[Outcome]:
    for share in task.shares:
        try:
            found = cut(task, share)
        except YoloPruneError as error:
            yield error
            continue
        exact = EXACT if found.recovery is None else AFTERWARDS[found.recovery["method"]]
        yield Made(slim=found.slim, exact=exact, cut=found)


def _best(task: Task, share: float) -> Cut:
    """Scored and re-fitted on the images, where there are any."""
    if task.calibration is None:
        return _cut(task, share)
    return _recovered(task, _cut(task, share, criterion=ON_IMAGES), Recovery.RECONSTRUCT)


def _recalibrated(task: Task, share: float) -> Cut:
    return _recovered(task, _cut(task, share), Recovery.RECALIBRATE)


def _recovered(task: Task, found: Cut, method: Recovery) -> Cut:
    if task.calibration is None:
        raise UsageError("needs images to learn from")
    return recover(
        found,
        task.calibration,
        method=method,
        seed=task.seed,
        device=task.device,
        reporter=task.reporter,
    )


def _by_activation(task: Task, share: float) -> Cut:
    if task.calibration is None:
        raise UsageError("needs images to learn from")
    return _cut(task, share, criterion="activation")


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
    drawn=True,
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
WANDA = Tool(
    name="wanda",
    about="what is read least: mean activation times the norm of what reads it, as Wanda's scores",
    make=partial(_made, cut=_by_activation),
    drawn=True,
)
RECALIBRATED = Tool(
    name="recalibrated",
    about="as l2, then the batch norms' statistics on the images",
    make=partial(_made, cut=_recalibrated),
    drawn=True,
)
RANDOM = Tool(
    name="random",
    about="channels drawn by lot",
    make=partial(_made, cut=partial(_cut, criterion="random")),
    drawn=True,
)
