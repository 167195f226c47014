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
    expected = np.sqrt(np.square(1 - 2 * best).sum() / np.square(best - best.mean()).sum())
    np.testing.assert_allclose(turned[0], expected, rtol=1e-12)
