"""Weight pruning: the single weights of smallest magnitude set to zero.

The folder that holds the result: the network, as `sparse.cfg`, `sparse.weights` and, where its
classes have names, `sparse.names`, or as `sparse.onnx`; `masks.json`, `sparse.packed` (the weights
without their zeros) and `report.json`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yoloprune.errors import UsageError
from yoloprune.files import write_bytes, write_folder, write_json
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import WeightScope
from yoloprune.pruning.weights.mask_file import read_masks, write_masks
from yoloprune.pruning.weights.masks import (
    MaskSettings,
    Pattern,
    WeightMasks,
    apply_masks,
    left_dense,
    magnitude_masks,
)
from yoloprune.pruning.weights.storage import pack, write_packed
from yoloprune.report.shown import Result, Shown
from yoloprune.report.sparsity import HEADER, sparsity_report, sparsity_rows
from yoloprune.report.table import amount, change, file_size
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.choices import chosen
from yoloprune.workflows.cut import PRUNED_FILES, SPARSE_FILES, refuse_to_replace
from yoloprune.workflows.models import AnyModel, load, opened

RUN_FILES = ("sparse.packed", "masks.json")
"""What a run of a sparse network leaves beside best.cfg and best.weights."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sparse(Result):
    """A network with zeros among its weights, the masks that say which, and it without them."""

    dense: Model
    model: Model
    masks: WeightMasks
    packed: bytes

    def save(self, folder: str | Path) -> list[str]:
        """Write all of it into a folder, whole or not at all; gives the names of the files.

        Raises `UsageError` if the dense network is there.
        """
        folder = Path(folder)
        refuse_to_replace(folder, self.dense)
        with write_folder(folder, obsolete=PRUNED_FILES) as temporary:
            write_sparse(temporary, self.model, self.masks)
            write_bytes(temporary / "sparse.packed", self.packed)
            write_json(temporary / "report.json", self.report())
            return [name for name in SPARSE_FILES if (temporary / name).exists()]

    def report(self) -> dict[str, Any]:
        """The content of report.json."""
        settings = self.masks.settings
        return sparsity_report(
            self.model,
            self.model.cost.weight_bytes,
            len(self.packed),
            {
                "sparsity": settings.sparsity,
                "scope": settings.scope.value,
                "pattern": settings.pattern.value,
                "exclude": list(settings.exclude),
            },
        )

    def shown(self) -> Shown:
        """Weights, bytes and multiply-accumulates; as JSON the content of report.json."""
        report = self.report()
        dense, sparse = report["dense"], report["sparse"]
        return Shown(
            title=f"Weight pruning of {self.dense.document.title}",
            summary=(
                f"{self.dense.document.title}: {amount(sparse['weights'])} weights "
                f"({change(dense['weights'], sparse['weights'])}), packed "
                f"{file_size(sparse['bytes'])} ({change(dense['bytes'], sparse['bytes'])})"
            ),
            header=HEADER,
            rows=sparsity_rows(report),
            lines=["Size is that of sparse.packed; `yoloprune expand` makes the network of it"],
            document=report,
        )


def sparsify(
    network: AnyModel,
    sparsity: float,
    *,
    scope: WeightScope | str = WeightScope.TIME,
    pattern: Pattern | str = Pattern.UNSTRUCTURED,
    exclude: tuple[str, ...] = (),
    reporter: Reporter = SILENT,
) -> Sparse:
    """Set the weights of smallest magnitude to zero.

    `sparsity` is the fraction of the weights that go, in [0, 1), of the convolutions that are not
    named by `exclude` ("first", "heads") and can have the `pattern`. By the `scope` they go where
    they are small and save time, where they are small, or from each layer alike. Raises
    `UsageError` where that makes no sense, `PlanError` where it empties a convolution.
    """
    settings = MaskSettings(
        sparsity=sparsity,
        scope=chosen(WeightScope, scope, "scope"),
        pattern=chosen(Pattern, pattern, "pattern"),
        exclude=exclude,
    )
    network = opened(network)
    warn_of_pattern(network, settings, reporter)
    with reporter.stage("masking and packing"):
        masks = magnitude_masks(network.graph, network.parameters, settings)
        sparse = masked(network, masks)
        packed = pack(sparse.graph, sparse.parameters)
    return Sparse(dense=network, model=sparse, masks=masks, packed=packed)


def masked(network: Model, masks: WeightMasks) -> Model:
    """A network with the masked weights at zero."""
    parameters = apply_masks(network.graph, network.parameters, masks)
    return replace(network, parameters=parameters, document=network.document.unread())


def warn_of_pattern(network: Model, settings: MaskSettings, reporter: Reporter) -> None:
    """Say which settings are ignored, and which layers stay dense though not excluded."""
    if settings.pattern is Pattern.TWO_OF_FOUR and settings.scope is WeightScope.LAYER:
        reporter.warn("the scope is ignored: the pattern 2:4 takes half of each layer")
    dense = left_dense(network.graph, settings)
    if dense:
        names = ", ".join(dense)
        reporter.warn(
            f"no multiple of four channels for the pattern {settings.pattern}: {names} stay dense"
        )


def write_sparse(folder: Path, network: Model, masks: WeightMasks) -> None:
    """The network and masks.json, into a folder that is there for them."""
    network.save(folder / f"sparse{network.document.suffix}")
    write_masks(folder / "masks.json", masks)


def read_sparse(folder: str | Path) -> tuple[Model, WeightMasks | None]:
    """The network in a folder of `prune`, `sparsify` or a run, and the masks that lie beside it.

    Raises `UsageError` for a folder that holds no network, or several.
    """
    masks = Path(folder) / "masks.json"
    if not masks.exists():
        return load(folder), None
    if (Path(folder) / "slim.cfg").exists():
        raise UsageError(f"{folder} holds both {masks.name} and slim.cfg: remove the files of one")
    network = load(folder)
    return network, read_masks(masks, network.graph)


def keep_masks(run: Path, masks: WeightMasks) -> None:
    """masks.json and sparse.packed of a run's best network, which was trained with these masks."""
    best = load(run / "best.cfg")
    # A run may have another input size than the network that the masks were made for.
    write_masks(run / "masks.json", replace(masks, graph_digest=best.graph.digest()))
    write_packed(run / "sparse.packed", best.graph, best.parameters)
