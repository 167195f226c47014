import pytest
import torch

from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.initialization import (
    RARE_OBJECT,
    random_state,
    training_state,
    transferred_state,
)
from yoloprune.frontends.darknet.weights import parameter_shapes
from yoloprune.frontends.darknet.zoo import yolov3, yolov3_tiny

SPEC = yolov3_tiny(classes=2, width=0.5, size=(64, 64))


@pytest.mark.parametrize("make", [random_state, training_state])
def test_every_array_has_its_shape_and_a_seed_gives_the_same(make) -> None:  # type: ignore[no-untyped-def]
    first, again, other = (make(SPEC, seed=seed) for seed in (3, 3, 4))
    for index, shapes in parameter_shapes(SPEC).items():
        assert {name: tuple(array.shape) for name, array in first[index].items()} == shapes
        assert torch.equal(first[index].kernel, again[index].kernel)
        assert not torch.equal(first[index].kernel, other[index].kernel)


def test_kernels_have_the_deviation_of_their_fan_in() -> None:
    for make, gain in ((random_state, 1), (training_state, 2)):
        kernel = make(SPEC)[12].kernel
        fan_in = kernel[0].numel()
        assert kernel.numel() > 1e5
        assert kernel.std().item() == pytest.approx((gain / fan_in) ** 0.5, rel=0.02)
    norms = random_state(SPEC)[12]
    assert norms.variance is not None and 0.5 <= norms.variance.min() < norms.variance.max() <= 1.5


def test_before_training_one_prediction_in_a_hundred_is_an_object() -> None:
    bias = training_state(SPEC)[SPEC.heads[0].sources[0]].bias.reshape(3, 7)
    assert bias[:, 4].sigmoid().tolist() == pytest.approx([0.01] * 3, rel=0.01)
    assert (bias[:, 4] == RARE_OBJECT).all() and bias.count_nonzero() == 3


def test_what_agrees_is_taken_over_and_the_rest_starts_anew() -> None:
    source = yolov3_tiny(classes=5, width=0.5, size=(96, 96))
    weights = random_state(source)
    state, taken = transferred_state(SPEC, source, weights, seed=1)
    assert taken == len(SPEC.convs) - 2
    heads = {head.sources[0] for head in SPEC.heads}
    fresh = training_state(SPEC, seed=1)
    for index in state:
        expected = fresh if index in heads else weights
        assert torch.equal(state[index].kernel, expected[index].kernel)


def test_what_has_nothing_in_common_is_refused() -> None:
    other = yolov3(width=0.0625)
    with pytest.raises(WeightsError, match="only weights of the same architecture"):
        transferred_state(SPEC, other, random_state(other))
    narrow = yolov3_tiny(classes=3, width=0.25)
    with pytest.raises(WeightsError, match="no layer of the networks has the same shape"):
        transferred_state(SPEC, narrow, random_state(narrow))
