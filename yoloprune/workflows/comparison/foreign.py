"""Other programs, each in a process of its own: they may crash, hang, or print what they like.

Such a program removes a share of the channels; which one leaves as many MACs as are wanted is found
by bisection.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from yoloprune.documents import read_document
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import GraphError, VerificationError, YoloPruneError
from yoloprune.files import write_json
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.model import Model
from yoloprune.workflows.comparison.tool import Made, Outcome, Task
from yoloprune.workflows.match import match

if TYPE_CHECKING:
    import onnx

SECONDS = 300
"""That a program may take, for all shares together."""

PROBES = 9
"""Shares of channels that are tried for each share of MACs: to within 1/512."""

FAILURES = 3
"""Probes at the beginning, each of half as much, after which a program is not asked again."""

Thin: TypeAlias = "Callable[[Path, float, int], onnx.ModelProto]"
"""(dense ONNX file, share of the channels to remove, what counts are rounded to) to a slim one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the process is asked for: the `function` of a `module`, at these shares of the MACs."""

    module: str
    function: str
    shares: tuple[float, ...]
    multiple_of: int


def elsewhere(thin: Thin) -> "Callable[[Task], Iterator[Outcome]]":
    """A program as `Tool.make` wants it; `thin` is a function of a module, by its name."""
    return partial(_outcomes, thin)


def _outcomes(thin: Thin, task: Task) -> Iterator[Outcome]:
    (task.work / "dense.onnx").write_bytes(onnx_bytes(task.dense))
    order = {
        "module": thin.__module__,
        "function": thin.__name__,
        "shares": task.shares,
        "multiple_of": task.multiple_of,
    }
    write_json(task.work / "order.json", order)
    problem = _run(task.work)
    for number in range(len(task.shares)):
        try:
            yield _outcome(task, number, problem)
        except YoloPruneError as error:
            yield error


def _run(folder: Path) -> str:
    """Let the process work, and say what is left to say where it ends early."""
    # -P and the path of this process: nothing else that lies about is imported.
    command = [sys.executable, "-P", "-m", __name__, str(folder)]
    paths = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"gave nothing in {SECONDS} s"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"ended with {done.returncode}: {said[-1] if said else 'it said nothing'}"


def _outcome(task: Task, number: int, problem: str) -> Made:
    path, reason = task.work / f"{number}.onnx", task.work / f"{number}.json"
    if reason.exists():
        raise GraphError(read_document(reason, str))
    if not path.exists():
        raise GraphError(problem)
    with task.reporter.stage("looking for what is left of the dense network"):
        return checked(task.dense, path)


def checked(dense: Model, path: Path) -> Made:
    """A slim file, and whether it is exactly what is left of the dense network."""
    slim = read(path)
    try:
        match(dense, slim)
    except VerificationError as error:
        return Made(slim=slim, exact="no", remark=str(error).replace(str(path), "its file"))
    return Made(slim=slim, exact="yes")


def main() -> None:
    """Do what the folder's order.json asks for: a file N.onnx or a reason N.json for each share."""
    folder = Path(sys.argv[1])
    order = read_document(folder / "order.json", _Order)
    thin: Thin = getattr(import_module(order.module), order.function)
    for number, share in enumerate(order.shares):
        try:
            _search(thin, folder, share, order.multiple_of, folder / f"{number}.onnx")
        except YoloPruneError as error:
            write_json(folder / f"{number}.json", str(error))


def _search(thin: Thin, folder: Path, share: float, multiple_of: int, found: Path) -> None:
    """Write the network whose MACs are nearest to a share of the dense one's."""
    dense = folder / "dense.onnx"
    wanted = share * read(dense).cost.macs
    low, high, nearest = 0.0, 1.0, math.inf
    path = folder / "probe.onnx"
    for number in range(PROBES):
        part = (low + high) / 2
        try:
            path.write_bytes(thin(dense, part, multiple_of).SerializeToString())
            macs = read(path).cost.macs
        except Exception as error:
            # Whatever it is, with fewer channels gone it may not be.
            if number + 1 >= FAILURES and nearest == math.inf:
                said = next(iter(str(error).strip().splitlines()), "")
                raise GraphError(
                    f"fails on this network ({type(error).__name__}: {said})"
                ) from error
            high = part
            continue
        if abs(macs - wanted) < nearest:
            nearest = abs(macs - wanted)
            path.replace(found)
        low, high = (part, high) if macs > wanted else (low, part)


if __name__ == "__main__":
    main()
