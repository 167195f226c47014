"""`yoloprune data`: prepare, check and make labeled data sets."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import ConsoleReporter, print_result
from yoloprune.cli.options import AllowFaulty, Json, Quiet, Seed
from yoloprune.counting import counted
from yoloprune.data.near_duplicates import HASH_BITS, NEAR
from yoloprune.workflows.data_sets import (
    check_data,
    fit_anchors,
    reference,
    split_data,
)
from yoloprune.workflows.vgg_hand import convert_vgg_hand

data_app = typer.Typer(
    no_args_is_help=True, help="Prepare, check and divide labeled data sets.", add_completion=False
)

DataPath = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="Folder, data.yaml, .data or COCO .json file."),
]
ImagesPath = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Folder of the images of VOC or COCO."),
]
AnchorCfg = Annotated[
    Path | None,
    typer.Option("--cfg", metavar="CFG", help="Network whose anchors and input size to use."),
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")]


@data_app.command("vgg-hand")
def vgg_hand(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="hand_dataset.tar.gz, or its unpacked folder.")
    ],
    out: OutFolder,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn the original VGG Hand data set into YOLO text: images, labels, hand.data."""
    converted = convert_vgg_hand(source, out, reporter=ConsoleReporter(quiet=quiet))
    print_result(converted.shown(), as_json=as_json, quiet=quiet)


@data_app.command("check")
def check(
    path: DataPath,
    fix: Annotated[bool, typer.Option("--fix", help="Write a cleaned copy to --out.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the cleaned copy.")
    ] = None,
    allow_faulty: AllowFaulty = False,
    cfg: AnchorCfg = None,
    images: ImagesPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report what is wrong with images and labels; the data set itself is never changed."""
    if fix != (out is not None):
        raise typer.BadParameter("--fix and --out DIR belong together")
    checked = check_data(
        path,
        clean_copy=out,
        cfg=cfg,
        images=images,
        allow_faulty=allow_faulty,
        reporter=ConsoleReporter(quiet=quiet),
    )
    print_result(checked.shown(), as_json=as_json, quiet=quiet)
    if not as_json and not quiet:
        copy = (
            []
            if out is None
            else [f"{out}: {counted(len(checked.check.images), 'image')}, cleaned"]
        )
        print_result(checked.boxes(), copy, as_json=False, quiet=False)


@data_app.command("anchors")
def anchors(
    path: DataPath,
    count: Annotated[int, typer.Option("--n", min=1, max=100, help="Number of anchors.")] = 9,
    size: Annotated[
        int | None,
        typer.Option("--size", min=1, help="Input side in pixels.", show_default="416, or --cfg's"),
    ] = None,
    cfg: AnchorCfg = None,
    letterbox: Annotated[
        bool, typer.Option("--letterbox", help="Images keep their aspect ratio in the network.")
    ] = False,
    split: Annotated[
        str | None, typer.Option("--split", help="Split to use.", show_default="train, or all")
    ] = None,
    seed: Seed = 0,
    images: ImagesPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit anchors to the boxes by k-means, and print them as `zoo --anchors` takes them."""
    against = reference(cfg, size)
    fitted = fit_anchors(
        path,
        count,
        against=replace(against, letterbox=letterbox or against.letterbox),
        split=split,
        images=images,
        seed=seed,
        reporter=ConsoleReporter(quiet=quiet),
    )
    print_result(fitted.shown(), as_json=as_json, quiet=quiet)


@data_app.command("split")
def split(
    path: DataPath,
    out: OutFolder,
    val: Annotated[
        float, typer.Option("--val", metavar="FRACTION", help="Of the images, to choose by.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", metavar="FRACTION", help="Of the images, to test on.")
    ] = 0.0,
    near: Annotated[
        int,
        typer.Option(
            "--near",
            metavar="BITS",
            min=0,
            max=HASH_BITS,
            help="Bits by which the perceptual hashes of near-duplicates may differ.",
        ),
    ] = NEAR,
    seed: Seed = 0,
    images: ImagesPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a copy divided into train, val and test; near-duplicates stay on one side."""
    divided = split_data(
        path,
        out,
        val=val,
        test=test,
        near=near,
        images=images,
        seed=seed,
        reporter=ConsoleReporter(quiet=quiet),
    )
    print_result(divided.shown(), as_json=as_json, quiet=quiet)
