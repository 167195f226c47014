"""`yoloprune data`: prepare, check and make labelled data sets."""

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from yoloprune.cli.check_tables import check_document, print_check, print_shapes, split_rows
from yoloprune.cli.console import (
    ConsoleReporter,
    output,
    print_json,
    print_table,
)
from yoloprune.cli.options import AllowFaulty, Json, Quiet
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.zoo import COCO_ANCHORS
from yoloprune.data.anchors import (
    Shapes,
    anchor_fit,
    cfg_anchors,
    format_anchors,
    input_shapes,
    network_anchors,
)
from yoloprune.data.check import check_dataset, refuse_unlabelled, write_clean_copy
from yoloprune.data.faults import sound_boxes
from yoloprune.data.images import darknet_resize, read_image_file
from yoloprune.data.images import letterbox as letterbox_images
from yoloprune.data.inspection import image_size
from yoloprune.data.near_duplicates import HASH_BITS, NEAR
from yoloprune.data.read import read_raw
from yoloprune.data.request import canonical
from yoloprune.data.split import divide
from yoloprune.data.vgg_hand import (
    EXPECTED,
    Conversion,
    convert_hand_dataset,
    opened_original,
    warnings_of,
)
from yoloprune.files import refuse_existing, refuse_inside
from yoloprune.reporter import Reporter

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

_DEFAULT_SIZE = 416


@data_app.command("vgg-hand")
def vgg_hand(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="hand_dataset.tar.gz, or its unpacked folder.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn the original VGG Hand data set into YOLO text: images, labels, hand.data."""
    reporter = ConsoleReporter(quiet=quiet)
    # Before minutes of unpacking.
    refuse_existing(out)
    with ExitStack() as stack:
        with reporter.stage(f"opening {source.name}"):
            root = stack.enter_context(opened_original(source, out.absolute().parent))
        conversion = convert_hand_dataset(root, out, reporter=reporter)
    if as_json:
        print_json(asdict(conversion))
    else:
        _print_conversion(conversion, out, reporter)


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
    if out is not None:
        refuse_existing(out)
        refuse_inside(out, path)
    title, anchors, size, letterbox = _reference(cfg, None)

    checked = check_dataset(read_raw(path, images), reporter=ConsoleReporter(quiet=quiet))
    if not allow_faulty:
        refuse_unlabelled(checked, path, most=fix)
    shapes = input_shapes(
        (image.labelled.boxes for image in checked.images),
        (image.size for image in checked.images),
        size,
        letterbox=letterbox,
    )
    fit = anchor_fit(shapes, anchors) if len(shapes) else None
    if out is not None:
        write_clean_copy(checked, out, path.stem or "data")
    if as_json:
        print_json(check_document(checked, shapes, fit))
        return
    print_check(checked)
    print_shapes(shapes, size, title, fit)
    if out is not None:
        output.print(f"{out}: {len(checked.images)} images, cleaned")


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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    images: ImagesPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit anchors to the boxes by k-means, and print them as `zoo --anchors` takes them."""
    title, before, (height, width), letterboxed = _reference(cfg, size)
    splits = read_raw(path, images, split).splits
    training = [images for name, images in splits.items() if canonical(name) == "train"]
    chosen = splits.values() if split is not None else training or splits.values()
    used = [image for images in chosen for image in images if len(image.boxes)]
    keep_aspect = letterbox or letterboxed
    # Stretched, every image fills the input, whatever its size.
    sizes: Iterable[tuple[int, int]] = [(1, 1)] * len(used)
    if keep_aspect:
        sizes = [
            image_size(read_image_file(image.path), image.path)
            for image in ConsoleReporter(quiet=quiet).track(used, "reading sizes")
        ]
    boxes = (sound_boxes(image) for image in used)
    shapes = input_shapes(boxes, sizes, (height, width), letterbox=keep_aspect)
    found = cfg_anchors(shapes, count, seed=seed)
    old, new = anchor_fit(shapes, before), anchor_fit(shapes, found)
    if as_json:
        print_json(
            {
                "anchors": found.tolist(),
                "boxes": len(shapes),
                "size": [height, width],
                "before": {"mean_iou": old.mean_iou, "recall": old.recall},
                "after": {"mean_iou": new.mean_iou, "recall": new.recall},
            }
        )
        return
    rows = [
        (name, len(anchors), f"{fit.mean_iou:.4f}", f"{fit.recall:.4f}")
        for name, anchors, fit in ((title, before, old), ("fitted", found, new))
    ]
    print_table(
        f"{len(shapes)} boxes at {width}x{height}{' (letterbox)' if keep_aspect else ''}",
        ("anchors", "number", "mean best IoU", "recall at IoU 0.5"),
        rows,
    )
    output.print(f"anchors = {format_anchors(found)}", soft_wrap=True)


@data_app.command("split")
def split(
    path: DataPath,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")],
    val: Annotated[
        float,
        typer.Option("--val", metavar="FRACTION", help="Fraction of the images to choose by."),
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", metavar="FRACTION", help="Fraction of the images to test on.")
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
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed.")] = 0,
    images: ImagesPath = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a copy divided into train, val and test; near-duplicates stay on one side."""
    refuse_existing(out)
    refuse_inside(out, path)
    shares = {"train": 1 - val - test, "val": val} | ({"test": test} if test else {})
    reporter = ConsoleReporter(quiet=quiet)
    checked = check_dataset(read_raw(path, images), reporter=reporter)
    division = divide(
        checked,
        shares,
        near=near,
        seed=seed,
        reporter=reporter,
    )
    write_clean_copy(division.check, out, path.stem or "data")
    if checked.findings:
        reporter.warn(
            f"{len(checked.findings)} faults of images and labels are mended or left out: "
            "`yoloprune data check` lists them"
        )
    alike, largest = division.groups, max(division.groups, default=0)
    if largest > 0.1 * len(checked.images):
        reporter.warn(
            f"{largest} of {len(checked.images)} images are near-duplicates of one another and on "
            "one side: a smaller --near tells more of them apart"
        )
    rows = list(split_rows(division.check))
    if as_json:
        print_json(
            {
                "splits": {
                    name: {"images": count, "objects": objects, "empty": empty}
                    for name, _, count, objects, empty in rows
                },
                "near_duplicates": {
                    "groups": len(alike),
                    "images": sum(alike),
                    "largest": largest,
                },
                "findings": len(checked.findings),
            }
        )
        return
    header = ("split", "images", "objects", "without objects")
    print_table(f"{out}", header, [(name, *counts) for name, _, *counts in rows])
    output.print(
        f"groups of near-duplicates, each on one side: {len(alike)} "
        f"({sum(alike)} images, at most {largest} alike)"
    )


def _reference(cfg: Path | None, size: int | None) -> tuple[str, Shapes, tuple[int, int], bool]:
    """Title and anchors to compare with, input (height, width), and whether it letterboxes."""
    spec = None if cfg is None else read_cfg(cfg)
    side = _DEFAULT_SIZE if size is None else size
    if spec is None:
        return "COCO's", np.array(COCO_ANCHORS, np.float64), (side, side), False
    _, height, width = spec.input_shape
    letterbox = darknet_resize(spec) is letterbox_images
    own = (height, width) if size is None else (side, side)
    return str(cfg), network_anchors(spec), own, letterbox


def _print_conversion(conversion: Conversion, out: Path, reporter: Reporter) -> None:
    for line in warnings_of(conversion):
        reporter.warn(line)
    found = conversion.found
    rows = [(what, found[what], expected) for what, expected in EXPECTED.items()]
    print_table("VGG Hand", ("what", "found", "full data set"), rows)
    output.print(
        f"{conversion.negatives} images without hands; {conversion.clipped} boxes cut at the "
        f"border, {conversion.dropped} dropped as they show nothing; "
        f"{len(conversion.skipped)} files skipped"
    )
    output.print(f"{out / 'hand.data'}: {found['hands']} hands", soft_wrap=True)
