"""Latency of networks, measured so that the comparison can be trusted.

The networks alternate run by run, so that a machine that slows down slows both; the ratio is the
median of the ratios of neighbouring runs. Batch 1, warm-up first, on a GPU with CUDA events.
"""

import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from yoloprune.darknet.cost import cost
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.export.onnx import export_onnx
from yoloprune.model.network import Network
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

    `speedup` is first over second, None unless there are two networks; `bound_by` says what the
    second's time follows: "MACs" or "layer count".
    """

    engine: str
    latencies: tuple[Latency, ...]
    speedup: float | None
    bound_by: str | None


def benchmark(
    networks: Sequence[tuple[NetworkSpec, State]],
    *,
    runs: int,
    warmup: int,
    reporter: Reporter = SILENT,
) -> list[EngineResult]:
    """Time networks in every engine that is installed.

    Threads are those of `torch.get_num_threads`.
    """
    costs = [cost(spec) for spec, _ in networks]
    results = []
    for engine, make_timer in _engines().items():
        timers = {str(n): make_timer(*network) for n, network in enumerate(networks)}
        found = alternating_times(timers, engine, runs=runs, warmup=warmup, reporter=reporter)
        times = list(found.values())
        speedup = bound_by = None
        if len(times) == 2:
            speedup = times_as_fast(times[1], than=times[0])
            bound_by = what_binds(speedup, costs[0].macs / costs[1].macs)
        results.append(
            EngineResult(
                engine=engine,
                latencies=tuple(latency_of(series) for series in times),
                speedup=speedup,
                bound_by=bound_by,
            )
        )
    return results


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
        for timer in timers.values():
            timer()
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in reporter.track(range(runs), what):
        for name, timer in timers.items():
            times[name].append(timer())
    return times


def times_as_fast(series: Sequence[float], than: Sequence[float]) -> float:
    """How many times as fast one was than another: the median of neighbouring runs' ratios."""
    return statistics.median(b / a for a, b in zip(series, than, strict=True))


def what_binds(speedup: float, fewer_macs: float) -> str | None:
    """Whether time followed the MACs: "MACs" if half of their saving, in logarithms, shows.

    None where so few MACs were saved that the answer would be noise.

    Pruning channels leaves the number of layers as it was; where each layer costs a fixed time (a
    kernel launch on a GPU at batch 1), fewer MACs save little.
    """
    if fewer_macs < LEAST_SAVING:
        return None
    share = math.log(max(speedup, 1e-9)) / math.log(fewer_macs)
    return "MACs" if share >= 0.5 else "layer count"


def latency_of(series: list[float]) -> Latency:
    """Summary of a network's times in milliseconds."""
    ordered = sorted(series)
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    return Latency(median=statistics.median(series), p95=p95, runs=len(series))


def _engines() -> dict[str, Callable[[NetworkSpec, State], Timer]]:
    engines: dict[str, Callable[[NetworkSpec, State], Timer]] = {}
    # First, for the first engine is the one that a report's table shows.
    if torch.cuda.is_available():
        engines["torch eager, CUDA"] = _cuda_timer
    engines["torch eager"] = _torch_timer
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
        engines["ONNX Runtime"] = _onnxruntime_timer
        if importlib.util.find_spec("openvino"):
            engines["OpenVINO"] = _openvino_timer
    return engines


def dense_cpu_timers(spec: NetworkSpec, state: State) -> dict[str, Timer]:
    """Timers of one network in every engine that is installed and runs on the CPU, by name."""
    makers = {name: maker for name, maker in _engines().items() if maker is not _cuda_timer}
    return {name: maker(spec, state) for name, maker in makers.items()}


def sample_image(spec: NetworkSpec) -> Tensor:
    """What is timed: (1, C, H, W), uniform noise."""
    return torch.rand(1, *spec.input_shape, generator=torch.Generator().manual_seed(0))


def wall_clock(run: Callable[[], object]) -> Timer:
    """The timer of a call that has finished its work when it returns."""

    def timer() -> float:
        start = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - start)

    return timer


def _torch_timer(spec: NetworkSpec, state: State) -> Timer:
    network, images = Network.from_state(spec, state).for_inference(), sample_image(spec)

    @torch.inference_mode()
    def run() -> None:
        network(images)

    return wall_clock(run)


def _cuda_timer(spec: NetworkSpec, state: State) -> Timer:
    network = Network.from_state(spec, state).cuda().for_inference()
    images = sample_image(spec).cuda()

    def run() -> float:
        # torch leaves the event's constructor untyped.
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.inference_mode():
            start.record()
            network(images)
            end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end))

    return run


def _onnxruntime_timer(spec: NetworkSpec, state: State) -> Timer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _as_onnx(spec, state) as path:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {"images": sample_image(spec).numpy()}
    return wall_clock(lambda: session.run(None, feed))


def _openvino_timer(spec: NetworkSpec, state: State) -> Timer:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        # Some processors would compute in bfloat16 otherwise, as the other engines do not.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    with _as_onnx(spec, state) as path:
        request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    feed = {"images": sample_image(spec).numpy()}
    return wall_clock(lambda: request.infer(feed))


@contextmanager
def _as_onnx(spec: NetworkSpec, state: State) -> Iterator[str]:
    """The path of the network's ONNX file, there until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(spec, state, path, batch=1)
        yield str(path)
