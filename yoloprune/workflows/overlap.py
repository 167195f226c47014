"""Images that were learned from are none to measure on, whatever their files are called."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.errors import DatasetError, PlanError
from yoloprune.files import file_sha256
from yoloprune.graph.model import Model
from yoloprune.reporter import Reporter
from yoloprune.workflows.pruned_folder import read_learned_from


def tell_if_learned_from(network: Model, paths: Sequence[Path], reporter: Reporter) -> None:
    """Warn where a network's folder says that it was fitted on some of these images."""
    if not network.document.source:
        return
    report = network.document.source[0].parent / "report.json"
    learned_from: set[str] = set()
    # A report that is not of pruning says nothing of it.
    with suppress(PlanError):
        learned_from |= set(read_learned_from(report).values())
    if not learned_from:
        return
    again = sum(digest in learned_from for digest in _digests(paths))
    if again:
        reporter.warn(
            f"{again} of the {counted(len(paths), 'image')} are among those that the network was "
            f"fitted on ({report}): on others it is less accurate"
        )


def without(
    source: Path, paths: Sequence[Path], measured: Sequence[Path], reporter: Reporter
) -> tuple[Path, ...]:
    """The images of a source that are not among those that are measured on, by content.

    Says how many are left out; raises `DatasetError` if none is left.
    """
    sizes = {path.stat().st_size for path in measured if path.exists()}
    alike = [path for path in paths if path.exists() and path.stat().st_size in sizes]
    if not alike:
        return tuple(paths)
    known = set(_digests(measured))
    out = {path for path, digest in zip(alike, _digests(alike), strict=True) if digest in known}
    left = tuple(path for path in paths if path not in out)
    if not left:
        raise DatasetError(
            f"{source}: all of its {counted(len(paths), 'image')} are measured on: what is learned "
            "from them cannot be measured on them; give other images"
        )
    if out:
        reporter.warn(f"{source}: {counted(len(out), 'image')} left out, which are measured on")
    return left


def _digests(paths: Iterable[Path]) -> list[str]:
    """SHA-256 of each file, empty of one that cannot be read: whoever reads the image says so."""
    found = []
    for path in paths:
        try:
            found.append(file_sha256(path))
        except OSError:
            found.append("")
    return found
