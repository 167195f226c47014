"""Anyone's slim network beside the dense one that it was made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from yoloprune.data.calibration import proof_images
from yoloprune.errors import UsageError, VerificationError
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.edits import as_stored
from yoloprune.graph.model import Model
from yoloprune.graph.shapes import facts
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.match import Difference, difference, kept_channels
from yoloprune.pruning.verification import batches
from yoloprune.report.pruning import HEADER, cost_rows, exactness_line
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.models import AnyModel, opened


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Match(Result):
    """A slim network that is exactly what is left of a dense one without some channels.

    `kept` are the filters that each layer with a kernel has left, by node.
    """

    dense: Model
    slim: Model
    kept: Mapping[str, tuple[int, ...]]
    difference: Difference

    def shown(self) -> Shown:
        """Cost, what was compared, and as JSON the kept filters too."""
        found, dense = self.difference.exactness, self.dense
        error = self.difference.change.relative_error if found is None else found.relative_error
        compared = "the outputs of other operators" if found is None else found.compared
        exact = exactness_line(error, compared)
        left, before = (total.channels for total in (self.slim.cost, dense.cost))
        return Shown(
            title=f"{self.slim.document.title} as a slim {dense.document.title}",
            summary=f"{left:,} of {before:,} channels are left; {exact}",
            header=HEADER,
            rows=cost_rows(dense, self.slim),
            lines=[
                f"{left:,} of {before:,} channels are left of {dense.document.title}, found by "
                "their numbers",
                exact,
            ],
            document={
                "kept": {node: list(filters) for node, filters in self.kept.items()},
                "exactness": None if found is None else asdict(found),
                "outputs": asdict(self.difference.change),
            },
        )


def match(
    dense: AnyModel,
    slim: AnyModel,
    *,
    images: str | Path | None = None,
    preprocess: str | None = None,
    reporter: Reporter = SILENT,
) -> Match:
    """Find which channels of a dense network a slim one has kept, and prove that it is exact.

    Nothing is asked of who made it, or how. Both run in float64 on noise and on some of the
    `images` (a folder, list or .data file), read by `preprocess`. Raises `VerificationError` where
    the slim network is not the dense one without some channels: by layer where its shapes cannot be
    that, or else with how far its outputs are, and which layer's numbers differ first.
    """
    dense, slim = opened(dense), opened(slim)
    if len(slim.graph.inputs) != len(dense.graph.inputs):
        raise UsageError(
            f"{slim.document.title} reads {len(slim.graph.inputs)} inputs, "
            f"{dense.document.title} {len(dense.graph.inputs)}"
        )
    source = dense.document.source
    if slim.cost.channels > dense.cost.channels and source and _was_pruned(source[0].parent):
        raise UsageError(
            f"{_named(dense)} was pruned, and has fewer channels than {_named(slim)}: the dense "
            "network comes first, then the slim one"
        )
    if isinstance(slim.document, OnnxDocument):
        # What nodes are told is float32 in a file, whatever a cfg says.
        dense = replace(dense, graph=as_stored(dense.graph))
    dependencies = analyze(dense.graph)
    with reporter.stage("looking for the channels that are left"):
        kept = kept_channels(dependencies, dense.parameters, slim.graph, slim.parameters)
    _check_outputs(slim, dense)
    inputs = proof_images(dense, None if images is None else Path(images), preprocess=preprocess)
    with reporter.stage("verifying in float64"):
        found = [
            difference(dependencies, dense.parameters, kept, (slim.graph, slim.parameters), part)
            for part in batches(dense.graph, inputs)
        ]
    worst = found[int(np.argmax([each.change.relative_error for each in found]))]
    if not all(each.passed for each in found):
        raise VerificationError(_not_exact(slim, dense, worst))
    filters = {
        each.node: tuple(np.flatnonzero(kept[each.filters]).tolist())
        for each in dependencies.labels.contractions
    }
    return Match(dense=dense, slim=slim, kept=filters, difference=worst)


def _check_outputs(slim: Model, dense: Model) -> None:
    """Raise `UsageError` where networks give other things than one another."""
    shapes = []
    for network in (slim, dense):
        known = facts(network.graph).shapes
        shapes.append([known[name][1:] for name in network.graph.outputs])
    if [len(shape) for shape in shapes[0]] != [len(shape) for shape in shapes[1]]:
        given = (", ".join("x".join(map(str, shape)) for shape in each) for each in shapes)
        names = (", ".join(network.graph.outputs) for network in (slim, dense))
        (first, second), (own, other) = given, names
        raise UsageError(
            f"{_named(slim)} gives {own} ({first}), {_named(dense)} {other} ({second}): compare it "
            "with a file in the same form"
        )


def _not_exact(slim: Model, dense: Model, found: Difference) -> str:
    left, before = slim.cost.channels, dense.cost.channels
    where = "; it is made of other operators, so layers cannot be compared"
    if found.layers:
        where = (
            f"; {_layers(len(found.layers))} other numbers than the dense network's, the first "
            f"{found.layers[0]}"
        )
    elif found.exactness is not None:
        where = (
            f"; all layers hold the dense network's numbers, but {found.exactness.worst} differs"
        )
    return (
        f"{_named(slim)}: {left:,} of {before:,} channels of {_named(dense)} are "
        f"left, but it is not exact: outputs differ from masked dense by up to "
        f"{found.change.relative_error:.2g} of their largest value{where}{_hint(slim)}"
    )


def _hint(slim: Model) -> str:
    folder = slim.document.source[0].parent if slim.document.source else None
    if folder is None or not _was_pruned(folder):
        return ""
    return f"; give the folder {folder}, whose report tells of a recovery, if there was one"


def _was_pruned(folder: Path) -> bool:
    return (folder / "report.json").exists()


def _layers(count: int) -> str:
    return "1 layer holds" if count == 1 else f"{count} layers hold"


def _named(network: Model) -> str:
    source = network.document.source
    return str(source[0]) if source else network.document.title
