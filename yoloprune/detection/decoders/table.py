"""The table of decoders, and which of them a network wants."""

from collections.abc import Mapping

from yoloprune.detection.decoders.decoder import Decoder, Decoding, Surface
from yoloprune.detection.decoders.detr import RT_DETR, RT_DETR_LOGITS
from yoloprune.detection.decoders.exported import YOLOPRUNE
from yoloprune.detection.decoders.fastestdet import FASTESTDET
from yoloprune.detection.decoders.ssd import RETINAFACE, SSD, SSD_PRIORS
from yoloprune.detection.decoders.ultralytics import END_TO_END, YOLOV5, YOLOV8
from yoloprune.detection.decoders.yolox import YOLOX, YOLOX_RAW
from yoloprune.detection.decoders.yunet import YUNET
from yoloprune.errors import UsageError

DECODERS: Mapping[str, Decoder] = {
    row.name: row
    for row in (
        YOLOPRUNE,
        YUNET,
        # Before those that know their outputs by shapes alone.
        RT_DETR,
        RT_DETR_LOGITS,
        YOLOV5,
        YOLOV8,
        YOLOX,
        YOLOX_RAW,
        FASTESTDET,
        RETINAFACE,
        SSD_PRIORS,
        SSD,
        # The last, for it asks for more than shapes.
        END_TO_END,
    )
}


def recognized(surface: Surface) -> tuple[Decoder, Decoding] | None:
    """The decoder that a network evidently wants, and what it reads; None where no row fits."""
    for row in DECODERS.values():
        found = row.read(surface)
        if found is not None and row.evident(surface):
            return row, found
    return None


def decoding(surface: Surface, name: str | None = None) -> tuple[Decoder, Decoding]:
    """The decoder of this name, or else the one that a network evidently wants.

    Raises `UsageError` for a name that is not known, and for outputs that it, or all, cannot read.
    """
    if name is None:
        if (found := recognized(surface)) is None:
            raise UsageError(
                f"no decoder is known to read its outputs, {surface}: name one as `decoder` if "
                f"one does ({', '.join(DECODERS)})"
            )
        return found
    if name not in DECODERS:
        raise UsageError(f"`decoder` {name!r} is unknown (known: {', '.join(DECODERS)})")
    row = DECODERS[name]
    if (read := row.read(surface)) is None:
        classes = "" if surface.names is None else f", of {len(surface.names)} classes"
        raise UsageError(
            f"`decoder` {name} reads {row.outputs}; the outputs are {surface}{classes}"
        )
    return row, read
