"""Latency of networks, measured so that the comparison can be trusted.

The networks alternate run by run, so that a machine that slows down slows both; the ratio is the
median of the ratios of neighboring runs. Batch 1, warm-up first, on a GPU with CUDA events.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from yoloprune.devices import AUTO
from yoloprune.engines.engine import Runner
from yoloprune.engines.table import ENGINES, engine_named, run_in
from yoloprune.errors import GraphError, UsageError
from yoloprune.execution.stream import only_input
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import random_images
from yoloprune.reporter import SILENT, Reporter

LEAST_SAVING = 1.2
"""Times fewer MACs from which on a comparison can tell what binds."""

Timer = Callable[[], float]
"""Runs a network once and gives the milliseconds that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds per image of one network; raises `ValueError` for times that cannot be."""

    median: float
    p95: float
    runs: int

    def __post_init__(self) -> None:
        if not (0 < self.median < math.inf and 0 < self.p95 < math.inf):
            raise ValueError(f"times must be above 0, not {self.median:g} and {self.p95:g} ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """One engine's latencies, one a network in the order given.

    `speedup` is first over second, None unless there are two networks; `follows_macs` says whether
    the second saves time as it saves MACs, None where too few are saved to tell.
    """

    engine: str
    latencies: tuple[Latency, ...]
    speedup: float | None
    follows_macs: bool | None


def default_engines() -> tuple[str, ...]:
    """Names of the engines that are timed unless others are asked for: those installed."""
    return tuple(name for name, row in ENGINES.items() if row.compared and not row.missing)


def benchmark(
    models: Sequence[Model],
    *,
    engines: Sequence[str] = (),
    device: str = AUTO,
    runs: int,
    warmup: int,
    reporter: Reporter = SILENT,
) -> list[EngineResult]:
    """Time models in the engines of these names, or in every usual one that is installed.

    Threads are those of `torch.get_num_threads`. A usual engine that cannot run a model is left
    out, with a warning. Raises `UsageError` where there is nothing to time, and for an engine that
    is not known or not on this device, `MissingDependencyError` for one that is not installed,
    `GraphError` for one that cannot run a model, or where none can.
    """
    if not models or runs < 1 or warmup < 0:
        raise UsageError("nothing to time: give a network, and `runs` of at least 1")
    results = []
    refused: GraphError | None = None
    for engine, place in places(engines, device):
        try:
            results.append(_timed(models, engine, place, runs, warmup, reporter))
        except GraphError as error:
            if engines:
                raise
            refused = error
            reporter.warn(f"{engine_named(engine).title} is left out: {error}")
    if refused is not None and not results:
        raise refused
    return results


def _timed(
    models: Sequence[Model], engine: str, device: str, runs: int, warmup: int, reporter: Reporter
) -> EngineResult:
    runners = [run_in(model, engine, device=device, batch=1) for model in models]
    timers = {
        str(n): timer(runner, sample_image(model))
        for n, (runner, model) in enumerate(zip(runners, models, strict=True))
    }
    title = runners[0].title
    found = alternating_times(timers, title, runs=runs, warmup=warmup, reporter=reporter)
    times = list(found.values())
    speedup = follows = None
    if len(times) == 2:
        speedup = times_as_fast(times[1], than=times[0])
        follows = follows_macs(speedup, models[0].cost.macs / models[1].cost.macs)
    return EngineResult(
        engine=title,
        latencies=tuple(latency_of(series) for series in times),
        speedup=speedup,
        follows_macs=follows,
    )


def places(engines: Sequence[str], device: str) -> Iterator[tuple[str, str]]:
    """Engines and the devices that each is timed on, in order.

    Usual engines are timed on every device that they have, a GPU first: the first is the one that a
    report's table shows.
    """
    if engines:
        yield from ((engine, device) for engine in engines)
        return
    usual = default_engines()
    if device == AUTO:
        if torch.cuda.is_available():
            yield from ((name, "cuda") for name in usual if "cuda" in engine_named(name).devices)
        device = "cpu"
    yield from ((name, device) for name in usual if device in engine_named(name).devices)


def cpu_runners(model: Model) -> dict[str, Runner]:
    """A model in every usual engine that is installed and runs on the CPU, by title."""
    runners = [run_in(model, name, device=place, batch=1) for name, place in places((), "cpu")]
    return {runner.title: runner for runner in runners}


def alternating_times(
    timers: Mapping[str, Timer],
    what: str,
    *,
    runs: int,
    warmup: int,
    reporter: Reporter = SILENT,
) -> dict[str, list[float]]:
    """Milliseconds of each run of each timer, in turn, after a warm-up; shown as `what`."""
    for _ in reporter.track(range(warmup), f"{what}: warm-up"):
        for run in timers.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in reporter.track(range(runs), what):
        for name, run in timers.items():
            times[name].append(run())
    return times


def times_as_fast(series: Sequence[float], than: Sequence[float]) -> float:
    """How many times as fast one was than another: the median of neighboring runs' ratios."""
    return statistics.median(b / a for a, b in zip(series, than, strict=True))


def follows_macs(speedup: float, fewer_macs: float) -> bool | None:
    """Whether half of the saving in MACs, in logarithms, shows in the time.

    None where so few MACs were saved that the answer would be noise.

    What else takes time is another question (unfilled blocks, memory, the number of layers, which
    pruning channels leaves as it was): a budget in time answers it (`yoloprune.pruning.clock`).
    """
    if fewer_macs < LEAST_SAVING:
        return None
    share = math.log(max(speedup, 1e-9)) / math.log(fewer_macs)
    return share >= 0.5


def latency_of(series: list[float]) -> Latency:
    """Summary of a network's times in milliseconds."""
    ordered = sorted(series)
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    return Latency(median=statistics.median(series), p95=p95, runs=len(series))


def sample_image(model: Model) -> Tensor:
    """What is timed: (1, C, H, W), uniform noise; more images where the network reads so many.

    Raises `GraphError` for a network that reads more than images.
    """
    return random_images(model.graph)[only_input(model.graph)].float()


def timer(runner: Runner, images: Tensor, threads: int | None = None) -> Timer:
    """The stopwatch of a runner on these images that other programs disturb the least.

    `threads` are those of a CPU that the runner computes on, by default torch's. On one it is the
    processor's time, which is what passes where nothing else runs.
    """
    placed = images.to(runner.device)
    if runner.device.type == "cuda":
        return _cuda_timer(lambda: runner.compute(placed))
    alone = (threads or torch.get_num_threads()) == 1
    seconds = time.process_time if alone else time.perf_counter
    return wall_clock(lambda: runner.compute(placed), seconds=seconds)


def wall_clock(run: Callable[[], object], *, seconds: Callable[[], float] | None = None) -> Timer:
    """The timer of a call that has finished its work when it returns; `seconds` is the clock."""
    seconds = seconds or time.perf_counter

    def timed() -> float:
        start = seconds()
        run()
        return 1e3 * (seconds() - start)

    return timed


def _cuda_timer(run: Callable[[], object]) -> Timer:
    def timed() -> float:
        # torch leaves the event's constructor untyped.
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end))

    return timed
