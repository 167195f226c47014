from pathlib import Path

import pytest

from tests.color_detector import GREEN_OBJECT, color_spec, color_state, paint
from tests.color_onnx import color_onnx
from tests.frontends.onnx.models import loaded
from tests.reporters import Heard
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.workflows.detectors import class_count_of, detector, tell_if_dead

DARKNET = model(color_spec(), color_state(), title="cells")


def test_networks_of_both_formats_tell_as_many_classes_apart(tmp_path: Path) -> None:
    assert class_count_of(DARKNET) == class_count_of(loaded(color_onnx(), tmp_path)) == 2


@pytest.mark.parametrize("setting", ["preprocess", "decoder"])
def test_what_a_cfg_says_is_not_said_again(setting: str) -> None:
    for ask in (detector, class_count_of):
        with pytest.raises(UsageError, match="cells: `preprocess` and `decoder` are for ONNX"):
            ask(DARKNET, **{setting: "yolox"})


def test_images_that_cannot_be_read_are_left_to_who_needs_them(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", (32, 32), {(0, 1): GREEN_OBJECT})
    (tmp_path / "b.png").write_bytes(b"damaged")
    heard = Heard()
    network = loaded(color_onnx(), tmp_path)
    tell_if_dead(detector(network), [tmp_path / "a.png", tmp_path / "b.png"], heard)
    assert not heard.warnings
    dead = detector(network, preprocess="plain")
    tell_if_dead(dead, [tmp_path / "b.png"], heard)
    assert not heard.warnings
    tell_if_dead(dead, [tmp_path / "a.png", tmp_path / "b.png"], heard)
    assert "is sure of nothing" in heard.warnings[0] and "(of 1 image)" in heard.warnings[0]
