"""Networks that are asked for less than they were trained for: classes, anchors, scales."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from yoloprune.errors import PlanError, UsageError, VerificationError
from yoloprune.evaluation.decoded import reading
from yoloprune.frontends.darknet.closing import without_heads
from yoloprune.frontends.darknet.document import DarknetDocument, darknet
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import AnyHead, Region, class_count
from yoloprune.graph.edits import Entries, Task
from yoloprune.graph.model import Document, Model
from yoloprune.graph.shapes import facts
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.scales import scale_sizes
from yoloprune.pruning.task import TaskProof, narrowing, prove_task
from yoloprune.reporter import Reporter
from yoloprune.workflows.silence import Silence, listened, listened_scales


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Narrowed:
    """A network cut to a task, the one that it was, and what was proven.

    `names` are those of the classes that are left, or their numbers, none where all are; `whole`
    the outputs whose rows all stay, with the reason; `silence` why anchors went, where they did.
    """

    before: Model
    network: Model
    task: Task
    names: tuple[str, ...]
    whole: Mapping[str, str]
    proof: TaskProof
    silence: Silence | None = None


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
        return darknet_task(document, numbers)
    read = reading(network, preprocess, decoder)
    numbers = _numbers(document.title, document.names, read.classes, classes)
    if not read.scores:
        raise UsageError(f"{document.title}: classes cannot be left out of it: {read.beside}")
    if read.beside:
        reporter.warn(f"{document.title}: {read.beside}")
    left = {}
    for name, (axis, before) in read.scores.items():
        kept = (*range(before), *(before + number for number in numbers))
        left[name] = Entries(axis=axis, kept=kept)
    return Task(classes=numbers, outputs=left)


def silent_task(
    network: Model,
    task: Task | None,
    source: Path,
    below: float,
    *,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter,
) -> tuple[Task, Silence]:
    """The task, or that of all classes, at anchors of which a box scores above `below`.

    Scores are those on all images of the source. Of an ONNX network whole scales go, whose boxes
    stand one after the other in its outputs. Raises `UsageError` where they do not, or where
    classes are to go too, and what `listened` and `reading` raise.
    """
    if not isinstance(network.document, DarknetDocument):
        if task is not None:
            raise UsageError(
                f"{network.document.title}: cut it to its `classes` first, and then what that "
                "writes to what is not silent"
            )
        return _heard_scales(network, source, below, preprocess, decoder, reporter)
    document = darknet(network)
    classes = tuple(range(class_count(document.spec))) if task is None else task.classes
    silence = listened(network, classes, source, below, reporter)
    return darknet_task(document, classes, silence.heard), silence


def _heard_scales(
    network: Model,
    source: Path,
    below: float,
    preprocess: str | None,
    decoder: str | None,
    reporter: Reporter,
) -> tuple[Task, Silence]:
    read = reading(network, preprocess, decoder)
    shapes = facts(network.graph).shapes
    given = {name: shapes[name] for name in network.graph.outputs}
    # The boxes are as many as all outputs have entries, along an axis that holds no classes.
    counts = [
        {size for axis, size in enumerate(shape) if axis != read.scores.get(name, (None, 0))[0]}
        for name, shape in given.items()
    ]
    for boxes in sorted(set.intersection(*counts), reverse=True):
        if sizes := scale_sizes(network.graph, boxes):
            break
    else:
        raise UsageError(
            f"{network.document.title}: which of its boxes are of which scale does not show"
        )
    silence = listened_scales(network, read, sizes, source, below, reporter)
    ends = list(accumulate(sizes))
    kept = tuple(
        box
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
        if silence.heard[number]
        for box in range(end - size, end)
    )
    left = {name: Entries(axis=shape.index(boxes), kept=kept) for name, shape in given.items()}
    return Task(classes=tuple(range(read.classes)), outputs=left), silence


def narrowed(
    network: Model, task: Task, inputs: Mapping[str, Tensor], silence: Silence | None = None
) -> Narrowed:
    """Cut a network to a task, and prove on these inputs that what it still gives is as before.

    Raises `PlanError` for a task of another network, `VerificationError` if anything differs.
    """
    document, base, asked = network.document, network, task
    if isinstance(document, DarknetDocument):
        if not _fits(document, task):
            raise PlanError(f"{document.title}: the plan's classes are not those of its heads")
        base, asked = _without_scales(network, document, task, inputs)
    elif document.names is not None and task.classes[-1:] >= (len(document.names),):
        raise PlanError(f"{document.title}: the plan's classes are more than it has names")
    found = narrowing(base.graph, asked, scales=not isinstance(document, DarknetDocument))
    if isinstance(document, DarknetDocument) and found.whole:
        reason = next(iter(found.whole.values()))
        raise UsageError(
            f"{document.title}: classes cannot be left out of it: rows of its heads are {reason}"
        )
    cut = base.edited(found.edits)
    proof = prove_task((base.graph, base.parameters), (cut.graph, cut.parameters), found, inputs)
    return Narrowed(
        before=network,
        network=cut,
        task=task,
        names=_left_names(document, task),
        whole=found.whole,
        proof=proof,
        silence=silence,
    )


def _left_names(document: Document, task: Task) -> tuple[str, ...]:
    """Names or numbers of the classes that are left, none where all are."""
    names = document.names
    known = (
        class_count(document.spec) if isinstance(document, DarknetDocument) else len(names or ())
    )
    if len(task.classes) == known:
        return ()
    return tuple(str(n) if names is None else names[n] for n in task.classes)


def _without_scales(
    network: Model, document: DarknetDocument, task: Task, inputs: Mapping[str, Tensor]
) -> tuple[Model, Task]:
    """The network without the heads of which nothing is asked, and the task that is left for it."""
    names = {raw_map(head): head.index for head in document.spec.heads}
    gone = {name for name, left in task.outputs.items() if not left.kept}
    if not gone:
        return network, task
    base, number = without_heads(network, {names[name] for name in gone})
    before = zip(names, outputs(network.graph, network.parameters, inputs), strict=True)
    kept = [value for name, value in before if name not in gone]
    after = outputs(base.graph, base.parameters, inputs)
    if not all(torch.equal(a, b) for a, b in zip(after, kept, strict=True)):
        raise VerificationError(f"{document.title}: without a scale, the others give other numbers")
    left = {
        f"head_{number[head.index]}": task.outputs[raw_map(head)]
        for head in document.spec.heads
        if head.index in number
    }
    return base, Task(classes=task.classes, outputs=left)


def _fits(document: DarknetDocument, task: Task) -> bool:
    """Whether a task is one of a network's heads."""
    known = class_count(document.spec)
    if not all(0 <= number < known for number in task.classes):
        return False
    if not any(left.kept for left in task.outputs.values()):
        return False
    anchors = {}
    for head in document.spec.heads:
        left = task.outputs.get(raw_map(head))
        each = head.box_entries + head.classes
        anchors[head.index] = sorted({entry // each for entry in left.kept}) if left else []
    return task == darknet_task(document, task.classes, anchors)


def darknet_task(
    document: DarknetDocument,
    numbers: tuple[int, ...],
    anchors: Mapping[int, Sequence[int]] | None = None,
) -> Task:
    """The task of these classes, at these anchors of each head, or at all.

    Raises `UsageError` where a score depends on those of all classes.
    """
    for head in document.spec.heads:
        if isinstance(head, Region) and len(numbers) < head.classes:
            raise UsageError(
                f"{document.title}: classes cannot be left out of {head.title}: its scores are "
                "shares of all classes (softmax=1), and would be others without them"
            )
    found = {}
    for head in document.spec.heads:
        own = range(len(head.anchors)) if anchors is None else anchors[head.index]
        found[raw_map(head)] = Entries(axis=1, kept=_rows(head, own, numbers))
    return Task(classes=numbers, outputs=found)


def _rows(head: AnyHead, anchors: Sequence[int], numbers: Sequence[int]) -> tuple[int, ...]:
    """The channels of these classes, and of boxes and objectness, of these anchors."""
    own = [*range(head.box_entries), *(head.box_entries + number for number in numbers)]
    each = head.box_entries + head.classes
    return tuple(each * anchor + entry for anchor in anchors for entry in own)


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
