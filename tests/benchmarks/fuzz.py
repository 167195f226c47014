"""Damaged inputs of every kind: no traceback, no hang, no memory without a bound.

Each input is a sample of its kind, changed one to four times by a seed, and read as commands read
it. Whatever is raised must be an error that the command line shows as one line.
A kind may also be an .onnx file, of which damaged copies are read.
Usage: python -m tests.benchmarks.fuzz [N (100000)] [SEED (0)] [KIND ...]
"""

import faulthandler
import io
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from tests.benchmarks.fuzz_kinds import KINDS
from tests.benchmarks.mutations import Kind, damaged
from tests.benchmarks.onnx_kind import onnx_kind
from tests.bombs import forget_peak, peak
from tests.cli.commands import run
from yoloprune.errors import YoloPruneError

HANG = 10
"""Seconds that one input may take."""

MOST_MIB = 1024
"""Memory that the process may take for one input, all that it has loaded included."""

COMMAND_EVERY = 50
"""Every so many inputs a command reads too, where the kind has one."""


class _HangError(BaseException):
    """Not an `Exception`, so that no reader catches it."""


@dataclass
class Outcome:
    """What came of the inputs of one kind."""

    kind: str
    tried: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak_mib: int = 0
    faults: Counter[str] = field(default_factory=Counter)


def fuzz(kind: str, count: int, seed: int) -> Outcome:
    """Read `count` damaged inputs of one kind."""
    torch.set_num_threads(1)
    # libpng and libjpeg write to the descriptor.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    outcome = Outcome(kind=kind)
    signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        root = Path(folder) / "kind"
        root.mkdir()
        target = KINDS[kind](root) if kind in KINDS else onnx_kind(root, [Path(kind)])
        whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for number in range(count):
            random = np.random.default_rng((seed, zlib.crc32(kind.encode()), number))
            data = damaged(random, target.samples, target.changes, whole=target.whole)
            target.path.write_bytes(data)
            forget_peak()
            started = time.monotonic()
            problem = _read(target, with_command=number % COMMAND_EVERY == 0)
            outcome.slowest = max(outcome.slowest, time.monotonic() - started)
            outcome.tried += 1
            if peak() > MOST_MIB:
                problem = f"{peak() >> 8 << 8} MiB"
            if problem == "refused":
                outcome.refused += 1
            elif problem:
                outcome.faults[problem] += 1
                _keep(kind, seed, number, data)
            for path, content in whole.items():
                if path != target.path and (not path.exists() or path.read_bytes() != content):
                    path.write_bytes(content)
    peaks = [
        resource.getrusage(own).ru_maxrss
        for own in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    outcome.peak_mib = max(peaks) >> 10
    return outcome


def _read(kind: Kind, *, with_command: bool) -> str:
    """ "" where an input is read, "refused" where it is refused in one line, else what is wrong."""
    signal.alarm(HANG)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            kind.read()
            if with_command and kind.command is not None:
                return _command(kind.command)
        return ""
    except _HangError:
        return f"more than {HANG} s"
    except (YoloPruneError, OSError) as error:
        if "\n" in str(error).strip():
            return f"several lines: {error!r:.200}"
        if with_command and kind.command is not None:
            signal.alarm(HANG)
            try:
                return _command(kind.command) or "refused"
            except _HangError:
                return f"more than {HANG} s: {kind.command[0]}"
        return "refused"
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error!s:.80}"
        )
    finally:
        signal.alarm(0)


def _command(words: Sequence[object]) -> str:
    result = run(*words)
    if result.exit_code == 0:
        return ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if result.exit_code == 2 and len(lines) == 1:
        return "refused"
    return f"exit code {result.exit_code} of {words[0]}: {result.exception!r:.120}"


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _HangError


def _keep(kind: str, seed: int, number: int, data: bytes) -> None:
    """Leave an input that failed where it can be looked at."""
    kept = Path(tempfile.gettempdir()) / "fuzz-failures"
    kept.mkdir(exist_ok=True)
    (kept / f"{kind.replace('/', '-')}-{seed}-{number}").write_bytes(data)


def main(words: Sequence[str]) -> int:
    """Run all kinds, or those that are named, each in a process of its own."""
    faulthandler.enable()
    count = int(words[0]) if words else 100_000
    seed = int(words[1]) if len(words) > 1 else 0
    kinds = list(words[2:]) or list(KINDS)
    share = -(-count // len(kinds))
    outcomes = []
    context = multiprocessing.get_context("spawn")
    workers = len(os.sched_getaffinity(0))
    # Raises where a process dies, which a pool of multiprocessing's own would wait for.
    with ProcessPoolExecutor(workers, context, max_tasks_per_child=1) as pool:
        jobs = [pool.submit(fuzz, kind, share, seed) for kind in kinds]
        for job in jobs:
            outcome = job.result()
            outcomes.append(outcome)
            print(
                f"{outcome.kind:26} tried {outcome.tried:6} refused {outcome.refused:6} "
                f"slowest {outcome.slowest:5.2f} s peak {outcome.peak_mib:5} MiB "
                f"faults {sum(outcome.faults.values())}",
                flush=True,
            )
            for problem, times in outcome.faults.most_common(12):
                print(f"    {times} x {problem}", flush=True)
    faults = sum(sum(outcome.faults.values()) for outcome in outcomes)
    print(f"{sum(o.tried for o in outcomes)} inputs, {faults} faults, "
          f"slowest {max(o.slowest for o in outcomes):.2f} s, "
          f"peak {max(o.peak_mib for o in outcomes)} MiB")  # fmt: skip
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
