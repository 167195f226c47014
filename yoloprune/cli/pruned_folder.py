"""A folder of `prune` or of `sparsify`: one network, and never both commands' files."""

from dataclasses import replace
from pathlib import Path

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.errors import PlanError, UsageError
from yoloprune.sparsity.mask_file import read_masks, write_masks
from yoloprune.sparsity.masks import WeightMasks
from yoloprune.sparsity.storage import write_packed
from yoloprune.training.run_folder import read_network

SLIM_FILES = (
    "slim.cfg", "slim.weights", "slim.names", "slim.onnx", "plan.json", "report.json", "report.md"
)  # fmt: skip
SPARSE_FILES = (
    "sparse.cfg", "sparse.weights", "sparse.names", "sparse.packed", "masks.json", "report.json"
)  # fmt: skip

RUN_FILES = ("sparse.packed", "masks.json")
"""What a run of a sparse network leaves beside best.cfg and best.weights."""

PRUNED_FILES = (*SLIM_FILES, *SPARSE_FILES)
"""What goes from a folder that either command writes."""


def refuse_to_replace(out: Path, *inputs: Path) -> None:
    """Raise `UsageError` if writing the folder would take away one of these files."""
    if {path.resolve() for path in inputs} & {(out / name).resolve() for name in PRUNED_FILES}:
        raise UsageError(f"--out {out} would replace the dense network: choose another folder")


def read_pruned(folder: Path) -> tuple[NetworkSpec, State, WeightMasks | None]:
    """The network in a folder of `prune` or `sparsify`, or the best one of a run; and its masks."""
    masks, slim = folder / "masks.json", folder / "slim.cfg"
    if not masks.exists():
        return *read_network(folder, _best(folder, "slim")), None
    if slim.exists():
        raise PlanError(
            f"{folder} holds both {masks.name} and {slim.name}: remove the files of one"
        )
    spec, state = read_network(folder, _best(folder, "sparse"))
    return spec, state, read_masks(masks, spec)


def _best(folder: Path, name: str) -> str:
    """`name`, unless a run left its best network there instead."""
    there, best = (folder / f"{n}.cfg" for n in (name, "best"))
    return "best" if best.exists() and not there.exists() else name


def write_sparse(run: Path, masks: WeightMasks) -> None:
    """masks.json and sparse.packed of a run's best network, which was trained with these masks."""
    spec, state = read_network(run, "best")
    # A run may have another input size than the network that the masks were made for.
    write_masks(run / "masks.json", replace(masks, spec_digest=spec.digest()))
    write_packed(run / "sparse.packed", spec, state)
