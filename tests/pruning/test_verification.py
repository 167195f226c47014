import math
from dataclasses import replace

import pytest
import torch

from yoloprune.errors import VerificationError
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph, ValueType
from yoloprune.pruning.verification import at_once, batches, compare, random_images, require


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_never_passes(value: float) -> None:
    good, bad = torch.zeros(1, 2, 2, 2), torch.full((1, 2, 2, 2), value)
    for pair in ((bad, good), (good, bad), (bad, bad)):
        verification = compare((pair[0],), (pair[1],))
        assert not verification.passed
        with pytest.raises(VerificationError):
            require(verification, "test")


def graph_of(batch: int | str, dtype: str = "float32") -> Graph:
    graph = GraphBuilder(opset=17)
    y = graph.node("y", "Relu", graph.input("x", (batch, 3, 2, 2)))
    built = graph.build({y: (batch, 3, 2, 2)})
    return replace(built, inputs={"x": ValueType(shape=(batch, 3, 2, 2), dtype=dtype)})


def test_errors_are_relative_to_the_largest_value_of_either_output() -> None:
    found = compare(
        (torch.tensor([1.0, 9.0]), torch.tensor([0.5])),
        (torch.tensor([1.0, 8.0]), torch.tensor([0.0])),
    )
    # Something where there were zeros is all that there is.
    assert (found.max_abs_error, found.per_output) == (1, (1 / 9, 1))
    assert (found.relative_error, found.passed, found.dtype) == (1, False, "float32")
    assert compare((torch.zeros(2),), (torch.zeros(3),)).max_abs_error == math.inf
    assert compare((torch.zeros(0),), (torch.zeros(0),)).passed
    with pytest.raises(VerificationError, match=r"slim: relative error 1 in float32, allowed"):
        require(found, "slim")


def test_noise_is_seeded_and_of_the_kind_that_is_read() -> None:
    (images,) = random_images(graph_of("n"), batch=5).values()
    (again,) = random_images(graph_of("n"), batch=5).values()
    (other,) = random_images(graph_of("n"), batch=5, seed=1).values()
    assert torch.equal(images, again) and not torch.equal(images, other)
    assert (images.shape, images.dtype) == ((5, 3, 2, 2), torch.float64)
    assert 0 <= images.min() < images.max() < 1
    (codes,) = random_images(graph_of(2, "uint8")).values()
    assert (codes.dtype, codes.shape[0]) == (torch.uint8, 2) and codes.max() > 100
    (flags,) = random_images(graph_of(1, "int64")).values()
    assert flags.unique().tolist() == [1]


def test_images_come_in_parts_that_a_network_can_read() -> None:
    images = torch.arange(5 * 12).reshape(5, 3, 2, 2)
    assert [at_once(graph_of(batch)) for batch in (1, 2, "n")] == [1, 2, None]
    seen = replace(graph_of("n"), sizes={"n": 2}, observed={"y": (2, 3, 2, 2)})
    for graph, sizes in ((graph_of(2), [2, 2]), (graph_of("n"), [5]), (seen, [2, 2])):
        parts = [part["x"] for part in batches(graph, {"x": images})]
        assert [len(part) for part in parts] == sizes
        assert torch.equal(torch.cat(parts), images[: sum(sizes)])


def test_an_output_that_was_next_to_nothing_is_at_most_twice_as_far() -> None:
    nothing, something = torch.full((2, 3), 1e-9), torch.full((2, 3), 0.5)
    for candidate, reference in ((something, nothing), (nothing, something)):
        found = compare((candidate,), (reference,))
        assert found.relative_error == pytest.approx(1) and not found.passed
    assert compare((-something,), (something,)).relative_error == 2
    assert not compare((something * torch.inf,), (something,)).passed
