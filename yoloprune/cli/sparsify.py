"""`yoloprune sparsify` and `expand`: weight pruning, and the packed file back to .weights."""

import json
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import CfgPath, ConsoleReporter, Quiet, output, print_table
from yoloprune.cli.networks import NetworkWords, keep_names, only_network
from yoloprune.cli.pruned_folder import PRUNED_FILES, SPARSE_FILES, refuse_to_replace
from yoloprune.darknet.parser import read_cfg, write_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights, write_weights
from yoloprune.errors import UsageError
from yoloprune.files import write_folder, write_text
from yoloprune.pruning.budget import Scope
from yoloprune.report.sparsity import HEADER, sparsity_report, sparsity_rows
from yoloprune.reporter import Reporter
from yoloprune.sparsity.mask_file import write_masks
from yoloprune.sparsity.masks import (
    EXCLUSIONS,
    MaskSettings,
    Pattern,
    apply_masks,
    left_dense,
    magnitude_masks,
)
from yoloprune.sparsity.storage import read_packed, write_packed

Exclude = Annotated[
    str,
    typer.Option("--exclude", help=f"Weights that stay, by commas: {','.join(EXCLUSIONS)}."),
]


def excluded(names: str) -> tuple[str, ...]:
    """The names in the text of `--exclude`."""
    return tuple(name for name in names.split(",") if name)


def warn_of_pattern(spec: NetworkSpec, settings: MaskSettings, reporter: Reporter) -> None:
    """Say which options do nothing, and which layers stay dense though not excluded."""
    if settings.pattern is Pattern.TWO_OF_FOUR and settings.scope is Scope.LAYER:
        reporter.warn("--scope changes nothing: the pattern 2:4 takes half of each layer")
    dense = left_dense(spec, settings)
    if dense:
        names = ", ".join(conv.title for conv in dense)
        reporter.warn(
            f"no multiple of four channels for the pattern {settings.pattern}: {names} stay dense"
        )


def sparsify(
    words: NetworkWords,
    sparsity: Annotated[
        float,
        typer.Option("--sparsity", help="Share of weights to zero; not `train`'s lasso."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the sparse network and report.")],
    scope: Annotated[
        Scope, typer.Option("--scope", help="Rank over the whole network, or in each layer.")
    ] = Scope.GLOBAL,
    pattern: Annotated[
        Pattern, typer.Option("--pattern", help="Which weights go together.")
    ] = Pattern.UNSTRUCTURED,
    exclude: Exclude = "",
    quiet: Quiet = False,
) -> None:
    """Set the weights of smallest magnitude to zero; write .weights, masks and a packed file."""
    settings = MaskSettings(
        sparsity=sparsity,
        scope=scope,
        pattern=pattern,
        exclude=excluded(exclude),
    )
    reporter = ConsoleReporter(quiet=quiet)
    cfg, weights = only_network(words)
    refuse_to_replace(out, cfg, weights)
    spec = read_cfg(cfg)
    warn_of_pattern(spec, settings, reporter)
    state = read_weights(weights, spec)
    with (
        reporter.stage("masking and packing"),
        write_folder(out, obsolete=PRUNED_FILES) as folder,
    ):
        masks = magnitude_masks(spec, state, settings)
        sparse = apply_masks(spec, state, masks)
        write_cfg(folder / "sparse.cfg", spec)
        write_weights(folder / "sparse.weights", spec, sparse)
        write_masks(folder / "masks.json", masks)
        write_packed(folder / "sparse.packed", spec, sparse)
        keep_names(cfg, spec, folder / "sparse.names")
        report = sparsity_report(
            spec,
            sparse,
            (folder / "sparse.packed").stat().st_size,
            {
                "sparsity": sparsity,
                "scope": scope.value,
                "pattern": pattern.value,
                "exclude": list(settings.exclude),
            },
        )
        write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")
        names = [name for name in SPARSE_FILES if (folder / name).exists()]
    print_table("Weight pruning", HEADER, sparsity_rows(report))
    output.print("Size is that of sparse.packed; `yoloprune expand` makes .weights of it")
    output.print(f"wrote {out}/: {', '.join(names)}")


def expand(
    cfg: CfgPath,
    packed: Annotated[Path, typer.Argument(metavar="PACKED", help="File that `sparsify` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The .weights file to write.")],
) -> None:
    """Make an ordinary .weights file of a packed one, bit for bit."""
    if out.resolve() in {cfg.resolve(), packed.resolve()}:
        raise UsageError(f"--out {out} would replace what it is made of: choose another file")
    spec = read_cfg(cfg)
    write_weights(out, spec, read_packed(packed, spec))
    output.print(f"wrote {out}")
