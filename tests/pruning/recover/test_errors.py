"""How far outputs are from those of the dense network, whatever they hold."""

import numpy as np
import torch

from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.recover.errors import output_errors


def test_outputs_that_are_whole_numbers_are_compared_as_numbers() -> None:
    g = GraphBuilder(opset=17, dtype="float32")
    y = g.node("y", "Conv", g.input("x", (1, 3, 4, 4)), g.parameter("kernel", (2, 3, 1, 1)))
    graph = g.build({g.node("best", "ArgMax", y, axis=1): (1, 1, 4, 4), y: (1, 2, 4, 4)})
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    kernel = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).reshape(2, 3, 1, 1)
    same, turned = output_errors(
        (graph, {"kernel": kernel}), graph, [{"kernel": kernel}, {"kernel": kernel.flip(0)}], images
    )
    assert same == [0, 0]
    best = images[:, :2].argmax(1).double().numpy()
    extent = max(np.square(each - best.mean()).sum() for each in (best, 1 - best))
    expected = np.sqrt(np.square(1 - 2 * best).sum() / extent)
    np.testing.assert_allclose(turned[0], expected, rtol=1e-12)


def scaled(factors: list[list[float]]) -> list[float]:
    """Errors of noise about 0 in two channels, times two factors: the first pair is dense."""
    noise = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    noise -= noise.mean(dim=(0, 2, 3), keepdim=True)
    g = GraphBuilder(opset=17, dtype="float64")
    x = g.input("x", (3, 2, 8, 8))
    y = g.node("y", "Mul", x, g.parameter("factors", (1, 2, 1, 1)))
    graph = g.build({y: (3, 2, 8, 8)})
    dense, *others = (
        {"factors": torch.tensor(f, dtype=torch.float64).reshape(1, 2, 1, 1)} for f in factors
    )
    return [error for (error,) in output_errors((graph, dense), graph, others, noise)]


def test_one_is_as_far_as_a_constant_output_and_two_as_far_as_any() -> None:
    found = scaled([[1, 2], [0.99, 1.98], [1.01, 2.02], [0, 0], [-1, -2], [1000, 2000]])
    np.testing.assert_allclose(found, [0.01, 0.01 / 1.01, 1, 2, 0.999], rtol=1e-9)


def test_outputs_that_hardly_vary_do_not_outweigh_the_others() -> None:
    # Next to nothing became something; or other than it was; nothing stayed nothing.
    some, other = scaled([[0, 1e-9], [0, 1], [0, 1e-8]])
    assert 0.999 < some <= 1 and 0 < other < 1e-4
    assert scaled([[0, 0], [0, 0]]) == [0]
