"""`yoloprune benchmark`: latency of one network, or of two against each other."""

from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.engine_options import Device, EngineNames, Threads
from yoloprune.cli.networks import one_or_two_models
from yoloprune.cli.options import Json, Quiet
from yoloprune.devices import AUTO
from yoloprune.errors import UsageError
from yoloprune.workflows.benchmark import RUNS, WARMUP, Benchmark, SparseBenchmark, benchmark_sparse
from yoloprune.workflows.benchmark import benchmark as measure


def benchmark(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK [NETWORK2]",
            help="One network, or two to compare: CFG WEIGHTS, NET.onnx, or a folder.",
        ),
    ],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs of each network.")] = RUNS,
    warmup: Annotated[int, typer.Option("--warmup", min=0, help="Runs before them.")] = WARMUP,
    threads: Threads = None,
    engine: EngineNames = None,
    device: Device = AUTO,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Skip zero weights, against every dense engine.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time networks at batch 1 in the usual engines, alternating run by run."""
    reporter = ConsoleReporter(quiet=quiet or as_json)
    networks = one_or_two_models(words)
    if sparse and (len(networks) > 1 or engine):
        raise UsageError("--sparse times one network, in zero-skipping and the usual engines")
    found: Benchmark | SparseBenchmark
    if sparse:
        found = benchmark_sparse(
            networks[0], threads=threads, runs=runs, warmup=warmup, reporter=reporter
        )
    else:
        found = measure(
            *networks,
            engines=engine or (),
            device=device,
            threads=threads,
            runs=runs,
            warmup=warmup,
            reporter=reporter,
        )
    print_result(found.shown(), as_json=as_json, quiet=quiet)
