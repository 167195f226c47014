"""Ranges of a network's values on images, by ONNX Runtime's calibration."""

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from yoloprune.errors import WeightsError

if TYPE_CHECKING:
    import onnx

Image: TypeAlias = NDArray[Any]
"""What a network reads: (1, C, H, W)."""

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "minmax": ("MinMax", {}),
    # ONNX Runtime's own default is about 0, which leaves leaky values half of the numbers.
    "percentile": ("Percentile", {"percentile": 99.99, "symmetric": False}),
    "entropy": ("Entropy", {}),
}
"""Ways from the values that occur to the range that int8 stretches over, as ONNX Runtime has them:
all of them, all but the rarest, and what keeps most information."""

AT_ONCE = 4
"""Images whose values, all of a network's, are held at the same time."""


def ranges(model: "onnx.ModelProto", images: Sequence[Image], method: str) -> Any:
    """What ONNX Runtime's quantizers want: ranges of values on images, by a row of `METHODS`.

    `model` is one that `prepared` gave. Raises `WeightsError` where its values have none.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    name, settings = METHODS[method]
    with tempfile.TemporaryDirectory() as folder, in_silence():
        path = Path(folder, "float.onnx")
        onnx.save(model, path)
        calibrator = create_calibrator(
            path,
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod[name],
            extra_options=dict(settings),
        )
        try:
            for start in range(0, len(images), AT_ONCE):
                part = images[start : start + AT_ONCE]
                calibrator.collect_data(_Reader(model.graph.input[0].name, part))
            return calibrator.compute_data()
        except ValueError as error:
            # Of infinite values no histogram can be made.
            raise WeightsError(
                "the network's values on the calibration images have no range "
                f"(are they finite in float32?): {error}"
            ) from None


@contextlib.contextmanager
def in_silence() -> Iterator[None]:
    """ONNX Runtime prints what it is doing, and warns of what is to be expected."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


class _Reader:
    """What a calibrator reads: images one by one, then None."""

    def __init__(self, name: str, images: Sequence[Image]) -> None:
        self.name = name
        self.left = iter(images)

    def get_next(self) -> dict[str, Image] | None:
        image = next(self.left, None)
        return None if image is None else {self.name: image}
