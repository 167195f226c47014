"""What an export format is: a file is written, and does not appear before an engine agreed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yoloprune.exporters.interface import OnnxForm
from yoloprune.graph.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCheck:
    """Shapes of the outputs, for one image where any number will do, and the error against torch.

    The error is the largest of all outputs, each relative to its largest value. `engine` is what
    computed them.
    """

    engine: str
    outputs: dict[str, tuple[int, ...]]
    relative_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One row of the table of formats.

    Attributes:
        name: as users write it.
        suffix: of its files.
        require: raises `MissingDependencyError` unless it can be written and checked.
        write: a model in this form to a file; raises `VerificationError`, and leaves no file, if
            an engine computes something else from it.
        check: a file against the model that it was written from; raises as `write` does.
    """

    name: str
    suffix: str
    require: Callable[[], None]
    write: Callable[[Model, Path, OnnxForm], ExportCheck]
    check: Callable[[Model, Path], ExportCheck]
