"""Latency of models, in every engine or in those that are named."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from yoloprune.devices import AUTO
from yoloprune.engines import benchmark as stopwatch
from yoloprune.engines import sparse_benchmark
from yoloprune.engines.benchmark import EngineResult
from yoloprune.engines.sparse_benchmark import SparseResult
from yoloprune.engines.zero_skipping import TITLE
from yoloprune.graph.model import Model
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.timing import cpu_threads

RUNS, WARMUP = 20, 3
"""Timed runs of each model, and those before them, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Benchmark(Result):
    """Latencies of models in engines, on so many CPU threads; `macs` are those of each model."""

    networks: tuple[str, ...]
    macs: tuple[int, ...]
    threads: int
    runs: int
    engines: tuple[EngineResult, ...]

    def shown(self) -> Shown:
        """A row a model and engine, and how many times as fast the second model is."""
        times = (
            f"{e.engine}: {' and '.join(f'{x.median:.2f} ms' for x in e.latencies)}"
            for e in self.engines
        )
        named = list(zip(self.networks, self.macs, strict=True))
        return Shown(
            title=f"Latency, batch 1, {self.threads} CPU threads, {self.runs} runs each",
            summary="; ".join(times),
            header=("Network", "Engine", "MACs", "Median (ms)", "p95 (ms)"),
            rows=[
                (name, e.engine, amount(macs), f"{x.median:.2f}", f"{x.p95:.2f}")
                for e in self.engines
                for (name, macs), x in zip(named, e.latencies, strict=True)
            ],
            lines=[self._ratio(e) for e in self.engines if e.speedup is not None],
            document={
                "threads": self.threads,
                "networks": [{"cfg": name, "macs": macs} for name, macs in named],
                "engines": [asdict(engine) for engine in self.engines],
            },
        )

    def _ratio(self, result: EngineResult) -> str:
        fewer = self.macs[0] / self.macs[1]
        line = f"{result.engine}: {result.speedup:.2f}x as fast with {fewer:.2f}x fewer MACs"
        if result.follows_macs is False:
            line += "; time does not follow the MACs: prune --keep-ms tells what it follows"
        return line


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SparseBenchmark(Result):
    """Latency of a model whose zeros are skipped, on so many CPU threads."""

    network: str
    threads: int
    runs: int
    result: SparseResult

    def shown(self) -> Shown:
        """A row an engine, and how many times as fast skipping is."""
        found = self.result
        layers = [asdict(layer) | {"skips_zeros": layer.is_sparse} for layer in found.layers]
        skipping = sum(layer.is_sparse for layer in found.layers)
        summary = (
            f"{TITLE}: {found.speedup_vs_fastest_dense:.2f}x as fast as the fastest dense engine, "
            f"{found.fastest_dense}; {skipping} of {len(found.layers)} convolutions skip zeros, "
            "the others run dense, which is faster; outputs differ by up to "
            f"{found.relative_error:.1g} of their largest value"
        )
        return Shown(
            title=(
                f"Latency of {self.network}, batch 1, {self.threads} CPU threads, {self.runs} "
                "runs each"
            ),
            summary=summary,
            header=("Engine", "Median (ms)", "p95 (ms)"),
            rows=[
                (engine, f"{latency.median:.2f}", f"{latency.p95:.2f}")
                for engine, latency in found.latencies.items()
            ],
            lines=[summary],
            document={"cfg": self.network, "threads": self.threads}
            | asdict(found)
            | {"layers": layers},
        )


def benchmark(
    *models: AnyModel,
    engines: Sequence[str] = (),
    device: str = AUTO,
    threads: int | None = None,
    runs: int = RUNS,
    warmup: int = WARMUP,
    reporter: Reporter = SILENT,
) -> Benchmark:
    """Time models, or the networks at these paths, at batch 1, alternating run by run.

    They run in the engines of these names, or in every usual one that is installed, with so many
    CPU threads, or with torch's own number. Raises what `engines.benchmark.benchmark` raises.
    """
    read = [opened(model) for model in models]
    with cpu_threads(threads) as count:
        found = stopwatch.benchmark(
            read, engines=engines, device=device, runs=runs, warmup=warmup, reporter=reporter
        )
    return Benchmark(
        networks=tuple(map(_name, read)),
        macs=tuple(model.cost.macs for model in read),
        threads=count,
        runs=runs,
        engines=tuple(found),
    )


def benchmark_sparse(
    model: AnyModel,
    *,
    threads: int | None = None,
    runs: int = RUNS,
    warmup: int = WARMUP,
    reporter: Reporter = SILENT,
) -> SparseBenchmark:
    """Time a model with its zeros skipped, against every usual engine, on the CPU.

    Raises what `engines.sparse_benchmark.benchmark_sparse` raises.
    """
    model = opened(model)
    with cpu_threads(threads) as count:
        found = sparse_benchmark.benchmark_sparse(
            model, runs=runs, warmup=warmup, reporter=reporter
        )
    return SparseBenchmark(network=_name(model), threads=count, runs=runs, result=found)


def _name(model: Model) -> str:
    source = model.document.source
    return str(source[0]) if source else model.document.title
