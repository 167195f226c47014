"""The original VGG Hand data set, converted."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from yoloprune.data.vgg_hand import (
    EXPECTED,
    Conversion,
    convert_hand_dataset,
    opened_original,
    warnings_of,
)
from yoloprune.files import refuse_existing
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Converted(Result):
    """The VGG Hand data set as YOLO text."""

    conversion: Conversion
    folder: Path

    def shown(self) -> Shown:
        """What was found, beside what the full data set has."""
        conversion, found = self.conversion, self.conversion.found
        written = f"{self.folder / 'hand.data'}: {found['hands']} hands"
        return Shown(
            title="VGG Hand",
            summary=written,
            header=("what", "found", "full data set"),
            rows=[(what, found[what], expected) for what, expected in EXPECTED.items()],
            lines=[
                f"{conversion.negatives} images without hands; {conversion.clipped} boxes cut at "
                f"the border, {conversion.dropped} dropped as they show nothing; "
                f"{len(conversion.skipped)} files skipped",
                written,
            ],
            document=asdict(conversion),
        )


def convert_vgg_hand(
    source: str | Path, out: str | Path, *, reporter: Reporter = SILENT
) -> Converted:
    """Turn the original VGG Hand data set, a folder or its archive, into YOLO text in `out`.

    Warns of what is missing or damaged. Raises `UsageError` if `out` is in use, `DatasetError` if
    `source` is not the original.
    """
    source, out = Path(source), Path(out)
    # Before minutes of unpacking.
    refuse_existing(out)
    with ExitStack() as stack:
        with reporter.stage(f"opening {source.name}"):
            root = stack.enter_context(opened_original(source, out.absolute().parent))
        conversion = convert_hand_dataset(root, out, reporter=reporter)
    for line in warnings_of(conversion):
        reporter.warn(line)
    return Converted(conversion=conversion, folder=out)
