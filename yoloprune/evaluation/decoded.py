"""Networks of any origin as detectors: images into them by a preset, boxes out by a decoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from yoloprune.data.dead import why_dead
from yoloprune.data.inputs import image_input, surface
from yoloprune.data.preprocess import ImageInput
from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Predictions
from yoloprune.detection.decoders.decoder import Decode, Decoder
from yoloprune.detection.decoders.table import decoding
from yoloprune.engines.batches import outputs_of
from yoloprune.engines.engine import Runner
from yoloprune.errors import UsageError
from yoloprune.evaluation.detector import Detector
from yoloprune.graph.model import Model
from yoloprune.pruning.verification import at_once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """How a network is read: its input, and its outputs by a decoder, of so many classes.

    `scores` and `beside` as in `Decoding`.
    """

    reads: ImageInput
    decoder: Decoder
    decode: Decode
    classes: int
    scores: Mapping[str, tuple[int, int]]
    beside: str


def reading(model: Model, preprocess: str | None = None, decoder: str | None = None) -> Reading:
    """How a network of any origin is read; `preprocess` and `decoder` are found where None.

    Raises what `image_input` and `decoding` raise, and `UsageError` where nothing says how many
    classes there are.
    """
    reads = image_input(model, preprocess)
    try:
        row, read = decoding(surface(model, reads), decoder)
    except UsageError as error:
        raise UsageError(f"{model.document.title}: {error}") from None
    if read.classes is None:
        raise UsageError(
            f"{model.document.title}: its output holds class numbers, and nothing says how many "
            "classes there are: write their `names` into the file's metadata, as a JSON list"
        )
    return Reading(
        reads=reads,
        decoder=row,
        decode=read.decode,
        classes=read.classes,
        scores=read.scores,
        beside=read.beside,
    )


def decoded_detector(model: Model, run: Runner, read: Reading) -> Detector:
    """A network in an engine, which gives the outputs that its decoder reads."""

    def predict(images: Tensor) -> Predictions:
        return read.decode(outputs_of(run, model.graph, images))

    return Detector(
        reads=read.reads,
        classes=read.classes,
        predict=predict,
        overlap=lambda extent: box_iou,
        batch_size=at_once(model.graph) or (2 if run.device.type == "cpu" else 16),
        concurrent=run.concurrent,
        decoder=read.decoder.name,
        why_dead=partial(why_dead, model, run, read.reads, decode=read.decode),
    )
