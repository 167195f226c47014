"""What a module's graph is, and where its arrays come from."""

import torch
from torch import Tensor, nn

from tests.modules import Block
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.frontends.torch.read import read
from yoloprune.pruning.groups import analyze


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block(3, 6)
        self.row = nn.Linear(6, 4)
        self.twice = nn.Linear(4, 4)
        self.lost = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.block(x)
        rows = self.row(found.flatten(2).transpose(1, 2)).relu()
        return self.twice(self.twice(rows).relu()), found


def test_arrays_are_the_modules_own_and_what_is_read_twice_is_cut_once() -> None:
    module = _Net()
    module.train()
    network = read(
        module,
        torch.rand(2, 3, 5, 4),
        outputs=lambda found: found[0],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    document = network.document
    assert isinstance(document, ModuleDocument)
    assert module.training and not document.module.training
    (value,) = network.graph.inputs.values()
    assert value.shape[1:] == (3, 5, 4) and isinstance(value.shape[0], str)
    # The map that the module gives beside is none of the chosen outputs.
    assert len(network.graph.outputs) == 1
    state = module.state_dict()
    for name, array in network.parameters.items():
        origin = document.origins[name]
        assert torch.equal(origin.written(array, state[origin.tensor]), state[origin.tensor])
    tensors = {origin.tensor for origin in document.origins.values()}
    assert tensors == {name for name in state if "lost" not in name and "tracked" not in name}
    kernels = {document.origins[name].tensor for name in network.graph.alike}
    assert kernels == {"twice.weight", "twice.bias"}
    # No bias that the convolution has not.
    conv = next(node for node in network.graph.nodes if node.operator == "Conv")
    assert len(conv.inputs) == 2
    assert document.scopes[conv.name] == "block.conv"
    assert [group.size for group in analyze(network.graph).prunable] == [6]
