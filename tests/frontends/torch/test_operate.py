from collections.abc import Callable

import pytest
import torch
from torch import nn

from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.surgery import Surgery, TensorCut

CUT = TensorCut(before=(3, 2), blocks=({0: (0, 2)},))
SURGERY = Surgery(tensors={"0.weight": CUT}, sizes={"0": {"out_features": 2}})


def test_parameters_become_others_that_an_optimizer_goes_on_with() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    (before,) = module.parameters()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    loss = module(torch.ones(1, 2)).sum()
    loss.backward()
    optimizer.step()
    momentum = optimizer.state[before]["momentum_buffer"]
    operate(module, SURGERY, [optimizer])
    (after,) = module.parameters()
    assert torch.equal(after, before[[0, 2]])
    assert optimizer.param_groups[0]["params"] == [after]
    assert torch.equal(optimizer.state[after]["momentum_buffer"], momentum[[0, 2]])
    assert before not in optimizer.state
    # While the old loss is still there, as in anyone's loop.
    module(torch.ones(1, 2)).sum().backward()
    assert after.grad is not None and loss.requires_grad
    assert module[0].out_features == 2


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (lambda own: torch.optim.SGD(own, 0.1, momentum=0.9, foreach=True), {"momentum_buffer"}),
        (lambda own: torch.optim.AdamW(own, 0.1, fused=True), {"exp_avg", "exp_avg_sq"}),
        (lambda own: torch.optim.RMSprop(own, 0.1), {"square_avg"}),
    ],
)
def test_what_optimizers_gather_is_sliced(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], keys: set[str]
) -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    (before,) = module.parameters()
    optimizer = make([before])
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    gathered = dict(optimizer.state[before])
    operate(module, SURGERY, [optimizer])
    (after,) = module.parameters()
    for key in keys:
        assert torch.equal(optimizer.state[after][key], gathered[key][[0, 2]])
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()


class _Listed(nn.Module):
    """Keeps parameters in lists and dictionaries, too, and what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.row = nn.Linear(2, 3, bias=False)
        self.row.weight.is_decayed = True
        self.row.weight.mask = torch.tensor([[0.0, 1.0]]).repeat(3, 1)
        self.row.weight.requires_grad_(False)
        self.register_buffer("gain", torch.rand(3, 2), persistent=False)
        self.bias = torch.rand(3, 2, requires_grad=True)
        self.extra = [self.row.weight, {"gain": self.gain, "names": ("a", self.bias)}]


def test_what_parameters_are_and_where_they_are_kept_follows() -> None:
    module = _Listed()
    extra, mask = module.extra, module.row.weight.mask
    names = {"row.weight": CUT, "gain": CUT, "bias": CUT}
    operate(module, Surgery(tensors=names, sizes={"row": {"out_features": 2}}))
    weight = module.row.weight
    assert weight.is_decayed and not weight.requires_grad and weight.shape == (2, 2)
    assert torch.equal(weight.mask, mask[[0, 2]])
    assert "gain" not in module.state_dict() and not module.gain.requires_grad
    assert module.bias.requires_grad
    assert module.extra[0] is weight
    assert module.extra[1]["gain"] is module.gain and module.extra[1]["names"][1] is module.bias
    # Who kept the list keeps what it was.
    assert extra[0].shape == (3, 2)
