"""What a network gives says whether images reach it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.color_detector import color_spec, color_state
from yoloprune.data.dead import why_dead
from yoloprune.data.images import Image
from yoloprune.data.preprocess import PRESETS, ImageInput
from yoloprune.detection.decode import Predictions
from yoloprune.engines.engine import Runner
from yoloprune.frontends.darknet.document import model

BYTES = PRESETS["yolox"]
"""It gives pixels of 0 to 255; `plain` and others give less."""


def images() -> list[Image]:
    return [np.full((32, 32, 3), level, np.uint8) for level in (40, 90, 200)]


def reason(
    compute: Callable[[Tensor], Tensor],
    preset: str,
    decode: Callable[[Tensor], Tensor] | None = None,
    seen: int = 3,
) -> str | None:
    """What is said of a network that computes this, its outputs decoded to these scores."""

    def decoded(outputs: dict[str, Tensor]) -> Predictions:
        assert decode is not None
        scores = decode(outputs["y"])
        return Predictions(
            boxes=torch.zeros(*scores.shape, 4),
            objectness=scores,
            classes=scores[..., None] * 0 + 1,
        )

    reads = ImageInput(channels=3, height=32, width=32, preprocess=PRESETS[preset])
    return why_dead(
        model(color_spec(), color_state(), title="net"),
        Runner(title="own", outputs=("y",), compute=lambda x: (compute(x),)),
        reads,
        images()[:seen],
        decode and decoded,
    )


def brightness(x: Tensor) -> Tensor:
    return x.mean(dim=(1, 2, 3))[:, None]


def test_what_images_move_is_alive() -> None:
    assert reason(brightness, "plain") is None


def test_what_gives_the_same_for_all_is_dead_and_what_helps_is_named() -> None:
    found = reason(lambda x: brightness(x).clamp(min=2), "plain")
    assert found is not None
    assert found.startswith("given RGB in [0, 1], 32x32 by stretch, the network gives the same")
    assert found.endswith("for every image (of 3 images), but not with `preprocess` yolox or yunet")
    found = reason(torch.zeros_like, "plain")
    assert found is not None and found.endswith(": say by `preprocess` what it wants")


def test_of_one_image_nothing_can_be_said() -> None:
    assert reason(torch.zeros_like, "plain", seen=1) is None


def test_numbers_must_be_finite() -> None:
    found = reason(lambda x: brightness(x) / 0, "plain")
    assert found is not None and "gives numbers that are not finite" in found


@pytest.mark.parametrize(
    ("sure", "said"),
    [
        (0, "is sure of nothing: no score is above 0.04"),
        (1, None),
        (3, "is sure of too much: 30% of its boxes have scores above 0.5"),
    ],
)
def test_some_boxes_have_scores_and_most_have_none(sure: int, said: str | None) -> None:
    def scores(y: Tensor) -> Tensor:
        found = torch.full((len(y), 10), 0.04)
        found[:, :sure] = 0.9
        return found

    found = reason(brightness, "plain", scores)
    assert found is None if said is None else found is not None and said in found
