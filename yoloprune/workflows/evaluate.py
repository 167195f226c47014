"""Mean average precision of a model on labeled images."""

from pathlib import Path

from yoloprune.data.dataset import Dataset
from yoloprune.data.read import read_dataset
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE
from yoloprune.evaluation import evaluator
from yoloprune.evaluation.detector import Detector
from yoloprune.evaluation.evaluator import Evaluation
from yoloprune.evaluation.protocols import DEFAULT_PROTOCOL, Protocol
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.detectors import detector, tell_if_dead
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.overlap import tell_if_learned_from
from yoloprune.workflows.training_data import tell_remarks


def evaluate(
    model: AnyModel | Detector,
    data: Dataset | str | Path,
    *,
    protocol: str | Protocol = DEFAULT_PROTOCOL,
    split: str | None = None,
    limit: int | None = None,
    engine: str = DEFAULT_ENGINE,
    device: str = AUTO,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Evaluation:
    """Evaluate a model, or the network at this path, on a data set, or on the one at this path.

    The protocol is a row of `PROTOCOLS`, by name, or one with thresholds of its own, such as
    `coco(threshold=0.1)`. Of a path, the images are those of `split`, or of test, val or valid as
    found, of which the first `limit` count. `engine`, `device`, `preprocess` and `decoder` are
    those of `detector`; it is warned where they leave the network dead. Raises
    `DatasetError` for data that cannot be read, and whatever `detector` raises.
    """
    network = names = None
    if not isinstance(model, Detector):
        network = opened(model)
        names = network.document.names
        model = detector(
            network, engine=engine, device=device, preprocess=preprocess, decoder=decoder
        )
    if not isinstance(data, Dataset):
        path = Path(data)
        # Of a network that was cut to fewer classes, the data set may well have more.
        data = read_dataset(path, classes=model.classes, known=names, split=split, limit=limit)
        tell_remarks(path, data, reporter)
    if network is not None:
        paths = [image.path for image in data.images]
        tell_if_dead(model, paths, reporter)
        tell_if_learned_from(network, paths, reporter)
    return evaluator.evaluate(model, data, protocol, reporter=reporter)
