"""`yoloprune sparsify` and `expand`: weight pruning, and the packed file back to a network."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.networks import only_model
from yoloprune.cli.options import AnyNetwork, Exclude, Json, Quiet
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import state
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.pruning.choices import WeightScope
from yoloprune.pruning.weights.masks import Pattern
from yoloprune.pruning.weights.storage import read_packed
from yoloprune.report.shown import Shown
from yoloprune.workflows.cut import refuse_to_replace
from yoloprune.workflows.models import is_onnx, load
from yoloprune.workflows.sparsify import sparsify as sparsify_network


def excluded(names: str) -> tuple[str, ...]:
    """The names in the text of `--exclude`."""
    return tuple(name for name in names.split(",") if name)


def sparsify(
    words: AnyNetwork,
    sparsity: Annotated[
        float,
        typer.Option(
            "--sparsity", help="Fraction to zero, of the weights not excluded; not `train`'s lasso."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the sparse network and report.")],
    scope: Annotated[
        WeightScope,
        typer.Option(
            "--scope",
            help="Zero weights that are small and whose zeros save time, small ones anywhere, or "
            "the same fraction of each layer.",
        ),
    ] = WeightScope.TIME,
    pattern: Annotated[
        Pattern, typer.Option("--pattern", help="Which weights are zeroed together.")
    ] = Pattern.UNSTRUCTURED,
    exclude: Exclude = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set the weights of smallest magnitude to zero; write network, masks and a packed file."""
    network = only_model(words)
    refuse_to_replace(out, network)
    sparse = sparsify_network(
        network,
        sparsity,
        scope=scope,
        pattern=pattern,
        exclude=excluded(exclude),
        reporter=ConsoleReporter(quiet=quiet or as_json),
    )
    names = sparse.save(out)
    more = [f"wrote {out}/: {', '.join(names)}"]
    print_result(sparse.shown(), more, as_json=as_json, quiet=quiet)


def expand(
    network: Annotated[
        Path, typer.Argument(metavar="NETWORK", help="Its .cfg, or its .onnx of any numbers.")
    ],
    packed: Annotated[Path, typer.Argument(metavar="PACKED", help="File that `sparsify` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The .weights or .onnx file to write.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Unpack a .packed file into .weights, or into an .onnx, losslessly."""
    if out.resolve() in {network.resolve(), packed.resolve()}:
        raise UsageError(f"{out} would replace what it is made of: choose another --out")
    if is_onnx(network):
        model = load(network)
        replace(model, parameters=read_packed(packed, model.graph)).save(out)
    else:
        spec = read_cfg(network)
        write_weights(out, spec, state(read_packed(packed, lower(spec))))
    line = f"wrote {out}"
    document = {"out": str(out), "bytes": out.stat().st_size}
    print_result(
        Shown(title="Expanded", summary=line, lines=[line], document=document),
        as_json=as_json,
        quiet=quiet,
    )
