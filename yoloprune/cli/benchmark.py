"""`yoloprune benchmark`: latency of one network, or of two against each other."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from yoloprune.cli.console import (
    ConsoleReporter,
    output,
    print_json,
    print_table,
)
from yoloprune.cli.networks import first_network, only_network
from yoloprune.cli.options import Json, Quiet
from yoloprune.darknet.cost import cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.weights import read_weights
from yoloprune.errors import UsageError
from yoloprune.report.latency import benchmark as measure
from yoloprune.report.sparse_latency import ENGINE, SparseResult, benchmark_sparse
from yoloprune.report.table import amount


def benchmark(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CFG WEIGHTS [CFG2 WEIGHTS2]",
            help="One network, or two to compare; a folder stands for its pair.",
        ),
    ],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of each network.")] = 20,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Runs before them.")] = 3,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads (torch's own default).")
    ] = None,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Skip zero weights, against every dense engine.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time networks at batch 1 in every installed engine, alternating run by run."""
    first, rest = first_network(words)
    pairs = [first, only_network(rest)] if rest else [first]
    if sparse and rest:
        raise UsageError("--sparse times one network: leave out the second one")
    specs = [read_cfg(path) for path, _ in pairs]
    networks = [
        (spec, read_weights(path, spec)) for spec, (_, path) in zip(specs, pairs, strict=True)
    ]
    if threads is not None:
        torch.set_num_threads(threads)

    reporter = ConsoleReporter(quiet=quiet or json)
    if sparse:
        measured = benchmark_sparse(*networks[0], runs=runs, warmup=warmup, reporter=reporter)
        _print_sparse(first[0], measured, runs, json)
        return
    results = measure(networks, runs=runs, warmup=warmup, reporter=reporter)
    names = [str(path) for path, _ in pairs]
    macs = [cost(spec).macs for spec in specs]
    if json:
        print_json(
            {
                "threads": torch.get_num_threads(),
                "networks": [{"cfg": n, "macs": m} for n, m in zip(names, macs, strict=True)],
                "engines": [asdict(result) for result in results],
            }
        )
        return
    rows: list[tuple[Any, ...]] = [
        (name, result.engine, amount(m), f"{latency.median:.2f}", f"{latency.p95:.2f}")
        for result in results
        for name, m, latency in zip(names, macs, result.latencies, strict=True)
    ]
    title = f"Latency, batch 1, {torch.get_num_threads()} CPU threads, {runs} runs each"
    header = ("Network", "Engine", "MACs", "Median (ms)", "p95 (ms)")
    print_table(title, header, rows)
    for result in results:
        if result.speedup is not None:
            bound = f"; bound by {result.bound_by}" if result.bound_by else ""
            output.print(
                f"{result.engine}: {result.speedup:.2f}x as fast with {macs[0] / macs[1]:.2f}x "
                f"fewer MACs{bound}",
                highlight=False,
            )


def _print_sparse(cfg: Path, result: SparseResult, runs: int, json: bool) -> None:
    threads = torch.get_num_threads()
    if json:
        layers = [asdict(layer) | {"skips_zeros": layer.is_sparse} for layer in result.layers]
        print_json({"cfg": str(cfg), "threads": threads} | asdict(result) | {"layers": layers})
        return
    rows = [
        (engine, f"{latency.median:.2f}", f"{latency.p95:.2f}")
        for engine, latency in result.latencies.items()
    ]
    title = f"Latency of {cfg}, batch 1, {threads} CPU threads, {runs} runs each"
    print_table(title, ("Engine", "Median (ms)", "p95 (ms)"), rows)
    skipping = sum(layer.is_sparse for layer in result.layers)
    output.print(
        f"{ENGINE}: {result.speedup_vs_fastest_dense:.2f}x as fast as the fastest dense engine, "
        f"{result.fastest_dense}; {skipping} of {len(result.layers)} convolutions skip zeros, the "
        f"others are not faster so; outputs differ by {result.relative_error:.1g} relative"
    )
