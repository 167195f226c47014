"""Wrong types at public functions: one line each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import yoloprune
from tests.frontends.onnx.models import residual
from yoloprune.arguments import check_types, checked
from yoloprune.data.images import write_image
from yoloprune.errors import UsageError
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.config import TrainingConfig
from yoloprune.workflows.cut import Cut


@checked
def example(
    path: str | Path,
    shares: Mapping[str, float] | None = None,
    *names: str,
    count: int = 1,
    sides: Sequence[int] | int = (),
    **settings: Any,
) -> tuple[object, ...]:
    return path, shares, names, count, sides, settings


def test_what_fits_is_passed_on() -> None:
    given = example(Path("a"), {"macs": 1}, "x", "y", count=np.int64(3), sides=[1, 2], odd=object)
    assert given == (Path("a"), {"macs": 1}, ("x", "y"), 3, [1, 2], {"odd": object})
    assert example("a", {"macs": np.float32(0.5)}, sides=4)[1] == {"macs": 0.5}
    assert example.__name__ == "example"


@pytest.mark.parametrize(
    ("arguments", "settings", "problem"),
    [
        ((["a"],), {}, "`path` must be text or a path, not ['a']"),
        (("a", 0.6), {}, "`shares` must be a mapping of text to numbers or None, not 0.6"),
        (("a", {"macs": "b"}), {}, "`shares` must be a mapping .*, not {'macs': 'b'}"),
        (("a", None, "x", 7), {}, "`names` must be text, not 7"),
        (("a",), {"count": True}, "`count` must be a whole number, not True"),
        (("a",), {"count": 1.5}, "`count` must be a whole number, not 1.5"),
        (("a",), {"sides": [1, "b"]}, "`sides` must be a list of whole numbers or a whole number"),
        ((Cut,), {}, "`path` must be text or a path, not a type"),
    ],
)
def test_what_does_not_fit_is_named(
    arguments: tuple[Any, ...], settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem.replace("[", r"\[").replace("{", r"\{")):
        example(*arguments, **settings)


def test_a_reporter_is_known_by_what_it_does() -> None:
    @checked
    def quiet(reporter: Reporter) -> Reporter:
        return reporter

    assert quiet(SILENT) is SILENT
    with pytest.raises(UsageError, match="`reporter` must be a Reporter, not 3"):
        quiet(3)  # type: ignore[arg-type]


def test_a_call_that_cannot_be_made_is_told_by_python() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        example()  # type: ignore[call-arg]


def test_public_functions_are_checked(tmp_path: Path) -> None:
    import onnx

    onnx.save_model(residual(), tmp_path / "net.onnx")
    network = yoloprune.load(tmp_path / "net.onnx")
    cut = yoloprune.prune(network, {"macs": 0.6}, multiple_of=1)
    photo = tmp_path / "photo.png"
    write_image(photo, np.zeros((16, 16, 3), np.uint8))
    for call, problem in (
        (lambda: yoloprune.prune(network, 0.6), "`keep` must be a mapping of text to numbers"),
        (lambda: yoloprune.prune(network, {"macs": "a"}), "not {'macs': 'a'}"),
        (lambda: yoloprune.prune(None, {"macs": 0.6}), "`network` must be a Model, as `load`"),
        (lambda: yoloprune.recover("slim", tmp_path), "must be a Cut, as `prune` and `read_cut`"),
        (lambda: yoloprune.recover(cut, [tmp_path]), "`images` must be .* text or a path, not"),
        (lambda: yoloprune.benchmark(cut, 3), "`models` must be a Model"),
        (lambda: yoloprune.benchmark(), "nothing to time: give a network"),
        (lambda: yoloprune.benchmark(cut, runs=0), "`runs` of at least 1"),
        (lambda: yoloprune.recover(cut, photo, calibration_images=0), "`calibration_images` 0"),
        (lambda: yoloprune.load(3), "`path` must be text or a path, not 3"),
    ):
        with pytest.raises(UsageError, match=problem):
            call()


def test_settings_are_held_against_the_fields_of_a_class() -> None:
    check_types(TrainingConfig, {"image_size": (64, 96), "learning_rate": 1})
    check_types(TrainingConfig, {"epochs": 3, "optimizer": "sgd"})
    with pytest.raises(UsageError, match="`optimizer` must be text, not 3"):
        check_types(TrainingConfig, {"optimizer": 3})
    with pytest.raises(UsageError, match="`epochs` must be a whole number, not 'a'"):
        check_types(TrainingConfig, {"epochs": "a"})


def test_a_cut_stands_for_its_slim_network(tmp_path: Path) -> None:
    import onnx

    onnx.save_model(residual(), tmp_path / "net.onnx")
    cut = yoloprune.prune(tmp_path / "net.onnx", {"macs": 0.6}, multiple_of=1)
    assert yoloprune.inspect(cut).total.macs == cut.slim.cost.macs
    assert yoloprune.prune(cut, {"macs": 0.9}, multiple_of=1).dense is cut.slim
    assert yoloprune.verify(tmp_path / "net.onnx", cut).slim is cut.slim
