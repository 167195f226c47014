"""What a module's graph is, and where its arrays come from."""

import pytest
import torch
from torch import Tensor, nn

from tests.modules import Block, noisy
from yoloprune.errors import GraphError, UsageError
from yoloprune.execution.module import Network
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


class _Numbers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=1e-3)
        self.leaky = nn.LeakyReLU(0.01)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.hardsigmoid(self.leaky(self.norm(self.conv(x))))


def test_attributes_are_what_torch_computes_with_not_their_float32() -> None:
    """By torch in float64."""
    module = noisy(_Numbers())
    image = torch.rand(1, 3, 4, 4)
    network = read(module, image)
    told = {node.operator: node.attributes for node in network.graph.nodes}
    assert told["HardSigmoid"]["alpha"] == 1 / 6
    assert told["BatchNormalization"]["epsilon"] == 1e-3
    assert told["LeakyRelu"]["alpha"] == 0.01
    (found,) = Network(network.graph, network.parameters, dtype=torch.float64)(image.double())
    assert (found - module.double()(image.double())).abs().max() <= 1e-15


class _Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.row(x)
        return torch.ones(2), self.row.weight + 1


def test_a_module_whose_outputs_are_fixed_is_refused() -> None:
    with pytest.raises(GraphError, match="_Fixed: nothing that it gives depends on what it is"):
        read(_Fixed(), torch.rand(1, 3))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # By torch's own import.
def test_a_compiled_module_is_refused() -> None:
    with pytest.raises(UsageError, match="a compiled module: give what was compiled"):
        read(torch.compile(nn.Linear(2, 3)), torch.rand(1, 2))


def test_a_module_without_shapes_yet_is_refused() -> None:
    with pytest.raises(UsageError, match="call the module once before"):
        read(nn.Sequential(nn.LazyLinear(2)), torch.rand(1, 3))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
def test_a_module_that_cannot_be_copied_says_what_to_do() -> None:
    for norm in (nn.utils.weight_norm, nn.utils.spectral_norm):
        module = nn.Sequential(norm(nn.Conv2d(3, 4, 1)), nn.Conv2d(4, 2, 1))
        image = torch.rand(1, 3, 4, 4)
        module(image)
        with pytest.raises(UsageError, match="cannot be copied: take away") as refused:
            read(module, image)
        _, _, told = str(refused.value).partition("normalizes it, by ")
        eval(told, {"torch": torch, "net": module})
        assert read(module, image).parameters


class _Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.conv(x)
        return self.head(self.seen)


def test_what_a_call_left_with_gradients_is_named() -> None:
    module = nn.Sequential(_Keeps())
    module(torch.rand(1, 3, 4, 4))
    with pytest.raises(UsageError, match=r"0 keeps seen of a call .* within torch.no_grad"):
        read(module, torch.rand(1, 3, 4, 4))


class _Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.inner = nn.ModuleDict({"steps": kind(4, 5, batch_first=True)})

    def forward(self, x: Tensor) -> Tensor:
        return self.inner["steps"](self.conv(x).flatten(2).transpose(1, 2))[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_refused_by_name(kind: type[nn.RNNBase]) -> None:
    with pytest.raises(GraphError, match=rf"inner.steps is recurrent \({kind.__name__}\)"):
        read(_Recurrent(kind), torch.rand(1, 3, 4, 4))
