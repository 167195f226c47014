"""Networks that are asked for fewer classes than they were trained for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from yoloprune.errors import PlanError, UsageError
from yoloprune.evaluation.decoded import reading
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import AnyHead, Region, class_count
from yoloprune.graph.edits import Entries, Task
from yoloprune.graph.model import Model
from yoloprune.pruning.task import TaskProof, narrowing, prove_task
from yoloprune.reporter import Reporter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Narrowed:
    """A network cut to a task, the one that it was, and what was proven.

    `names` are those of the classes that are left, or their numbers; `whole` the outputs whose rows
    all stay, with the reason.
    """

    before: Model
    network: Model
    task: Task
    names: tuple[str, ...]
    whole: Mapping[str, str]
    proof: TaskProof


def task_of(
    network: Model,
    classes: Sequence[str | int],
    *,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter,
) -> Task:
    """The task of telling these classes apart, by name or number, and no others.

    Of an ONNX file, the decoder of this name, or else the one that its outputs evidently want,
    knows where classes are. Raises `UsageError` for classes that the network does not have, or
    whose scores depend on the others' where no graph shows it; what `reading` raises.
    """
    document = network.document
    if isinstance(document, DarknetDocument):
        numbers = _numbers(document.title, document.names, class_count(document.spec), classes)
        return _darknet_task(document, numbers)
    read = reading(network, preprocess, decoder)
    numbers = _numbers(document.title, document.names, read.classes, classes)
    if not read.scores:
        raise UsageError(f"{document.title}: classes cannot be left out of it: {read.beside}")
    if read.beside:
        reporter.warn(f"{document.title}: {read.beside}")
    outputs = {}
    for name, (axis, before) in read.scores.items():
        kept = (*range(before), *(before + number for number in numbers))
        outputs[name] = Entries(axis=axis, kept=kept)
    return Task(classes=numbers, outputs=outputs)


def narrowed(network: Model, task: Task, inputs: Mapping[str, Tensor]) -> Narrowed:
    """Cut a network to a task, and prove on these inputs that what it still gives is as before.

    Raises `PlanError` for a task of another network, `VerificationError` if anything differs.
    """
    document = network.document
    if isinstance(document, DarknetDocument):
        known = class_count(document.spec)
        fits = all(0 <= number < known for number in task.classes)
        if not fits or task != _darknet_task(document, task.classes):
            raise PlanError(f"{document.title}: the plan's classes are not those of its heads")
    elif document.names is not None and task.classes[-1:] >= (len(document.names),):
        raise PlanError(f"{document.title}: the plan's classes are more than it has names")
    found = narrowing(network.graph, task)
    if isinstance(document, DarknetDocument) and found.whole:
        reason = next(iter(found.whole.values()))
        raise UsageError(
            f"{document.title}: classes cannot be left out of it: rows of its heads are {reason}"
        )
    cut = network.edited(found.edits)
    proof = prove_task(
        (network.graph, network.parameters), (cut.graph, cut.parameters), found, inputs
    )
    names = document.names
    return Narrowed(
        before=network,
        network=cut,
        task=task,
        names=tuple(str(n) if names is None else names[n] for n in task.classes),
        whole=found.whole,
        proof=proof,
    )


def _darknet_task(document: DarknetDocument, numbers: tuple[int, ...]) -> Task:
    for head in document.spec.heads:
        if isinstance(head, Region):
            raise UsageError(
                f"{document.title}: classes cannot be left out of {head.title}: its scores are "
                "shares of all classes (softmax=1), and would be others without them"
            )
    outputs = {
        raw_map(head): Entries(axis=1, kept=_rows(head, numbers)) for head in document.spec.heads
    }
    return Task(classes=numbers, outputs=outputs)


def _rows(head: AnyHead, numbers: Sequence[int]) -> tuple[int, ...]:
    """The channels of these classes, and of boxes and objectness, of each anchor."""
    own = [*range(head.box_entries), *(head.box_entries + number for number in numbers)]
    starts = np.arange(len(head.anchors)) * (head.box_entries + head.classes)
    return tuple((starts[:, None] + own).reshape(-1).tolist())


def _numbers(
    title: str, names: Sequence[str] | None, count: int, classes: Sequence[str | int]
) -> tuple[int, ...]:
    """The numbers of classes, ascending, each once."""
    found = {_number(title, names, count, asked) for asked in classes}
    if not found or len(found) == count:
        raise UsageError(
            f"{title}: `classes` must be some of its {count}, and not all: {_known(names, count)}"
        )
    return tuple(sorted(found))


def _number(title: str, names: Sequence[str] | None, count: int, asked: str | int) -> int:
    if isinstance(asked, str) and names is not None and asked in names:
        if names.count(asked) > 1:
            raise UsageError(f"{title}: several classes are called {asked!r}: give numbers")
        return names.index(asked)
    try:
        number = int(asked)
    except ValueError:
        number = -1
    if not 0 <= number < count:
        raise UsageError(f"{title}: class {asked!r} is unknown (known: {_known(names, count)})")
    return number


def _known(names: Sequence[str] | None, count: int) -> str:
    if names is None:
        return f"0 to {count - 1}; they have no names"
    return f"{', '.join(names)}; or 0 to {count - 1}"
