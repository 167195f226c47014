from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.color_detector import color_spec, color_state
from tests.color_onnx import color_onnx
from yoloprune.data.calibration import proof_images
from yoloprune.data.images import write_image
from yoloprune.data.inputs import image_input, surface
from yoloprune.data.preprocess import DARKNET_LETTERBOX, PRESETS
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.workflows.models import load

ULTRALYTICS = replace(PRESETS["ultralytics"], layout="nchw")
"""What the metadata of the files say."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture that is higher than wide."""
    write_image(tmp_path / "photos.png", np.full((60, 40, 3), 200, np.uint8))
    return tmp_path / "photos.png"


def test_images_are_fitted_as_the_file_says(net: Path, photos: Path) -> None:
    assert image_input(load(net)).preprocess == ULTRALYTICS
    proto = onnx.load(net)
    proto.metadata_props.add(key="input", value='{"resize": "letterbox", "fill": 0.5}')
    onnx.save_model(proto, net)
    network = load(net)
    assert image_input(network).preprocess == replace(DARKNET_LETTERBOX, layout="nchw")
    assert str(image_input(network)) == "RGB in [0, 1], 16x16 by darknet-letterbox"
    (images,) = proof_images(network, photos).values()
    assert images[1, :, :, 0].unique().tolist() == [0.5]
    proto.metadata_props[-1].value = "no JSON"
    onnx.save_model(proto, net)
    assert image_input(load(net)).preprocess == ULTRALYTICS


def test_a_family_is_known_by_its_outputs_unless_told_otherwise(tmp_path: Path) -> None:
    onnx.save_model(color_onnx((1, 3, "height", "width")), tmp_path / "net.onnx")
    network = load(tmp_path / "net.onnx")
    assert str(image_input(network, "size=64x32")) == "BGR in [0, 255], 64x32 by corner"
    reads = image_input(network, "plain,size=64x32")
    assert str(reads) == "RGB in [0, 1], 64x32 by stretch"
    # Heads of strides 8, 16 and 32: 4 x 8, 2 x 4 and 1 x 2 cells.
    seen = surface(network, reads)
    assert (seen.size, dict(seen.outputs)) == ((32, 64), {"output": (1, 42, 7)})


def test_statements_must_fit_the_network(net: Path) -> None:
    with pytest.raises(UsageError, match="net: it reads images of 16x16, and no other size"):
        image_input(load(net), "size=32")
    with pytest.raises(UsageError, match="net: a cfg says itself how images are preprocessed"):
        image_input(model(color_spec(), color_state(), title="net"), "plain")
