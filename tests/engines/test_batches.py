import pytest
import torch
from torch import Tensor

from yoloprune.engines.batches import outputs_of
from yoloprune.engines.engine import Runner
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph


def identity(batch: int | str) -> Graph:
    graph = GraphBuilder(opset=17)
    return graph.build({graph.node("y", "Relu", graph.input("x", (batch, 2))): (batch, 2)})


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 5), (2, [2, 2, 2]), ("n", [5])])
def test_images_are_cut_into_what_the_network_reads_at_once(
    batch: int | str, sizes: list[int]
) -> None:
    seen: list[int] = []

    def compute(images: Tensor) -> tuple[Tensor]:
        assert images.dtype == torch.float32
        seen.append(len(images))
        return (images.double(),)

    images = torch.arange(10).reshape(5, 2)
    runner = Runner(title="own", outputs=("y",), compute=compute)
    found = outputs_of(runner, identity(batch), images)["y"]
    assert seen == sizes
    assert found.dtype == torch.float32
    assert found.tolist() == images.tolist()
