from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.surgery import Surgery, TensorCut, operate, tensor_cut
from yoloprune.graph.edits import ArrayCut

CUT = TensorCut(before=(3, 2), blocks=({0: (0, 2)},))
SURGERY = Surgery(tensors={"0.weight": CUT}, sizes={"0": {"out_features": 2}})


def test_a_cut_in_plain_numbers_is_the_same_cut() -> None:
    array = ArrayCut(blocks=({0: np.array([0, 2])},))
    assert tensor_cut(array, (3, 2)) == CUT
    assert CUT.array.same_as(array)


def test_parameters_become_others_that_an_optimizer_goes_on_with() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    (before,) = module.parameters()
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    loss = module(torch.ones(1, 2)).sum()
    loss.backward()
    optimizer.step()
    momentum = optimizer.state[before]["momentum_buffer"]
    operate(module, SURGERY, optimizer)
    (after,) = module.parameters()
    assert torch.equal(after, before[[0, 2]])
    assert optimizer.param_groups[0]["params"] == [after]
    assert torch.equal(optimizer.state[after]["momentum_buffer"], momentum[[0, 2]])
    assert before not in optimizer.state
    # While the old loss is still there, as in anyone's loop.
    module(torch.ones(1, 2)).sum().backward()
    assert after.grad is not None and loss.requires_grad
    assert module[0].out_features == 2


def test_another_module_is_refused_unchanged() -> None:
    for module, what in (
        (nn.Sequential(nn.Linear(2, 4)), r"its 0.weight is \(4, 2\)"),
        (nn.Sequential(), "its 0.weight is not there"),
    ):
        with pytest.raises(UsageError, match=what):
            operate(module, SURGERY)
    module = nn.Sequential(nn.Linear(2, 3))
    with pytest.raises(UsageError, match=r"it has no size 0\.heads, which the plan sets to 2"):
        operate(module, Surgery(tensors=SURGERY.tensors, sizes={"0": {"heads": 2}}))
    assert module[0].weight.shape == (3, 2)


class _Sized(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 3)
        self.widths, self.wide = [3, 3], True


@pytest.mark.parametrize(
    ("path", "name", "size"),
    [
        ("", "__class__", 2), ("", "wide", 2), ("", "widths", 2), ("", "widths", (2,)),
        ("", "out_features", (2,)), ("", "out_features", -2), ("", "forward", 2),
        ("", "weight", 2), ("..", "out_features", 2), ("__dict__", "out_features", 2),
    ],
)  # fmt: skip
def test_nothing_but_sizes_is_set(path: str, name: str, size: int | tuple[int, ...]) -> None:
    module = _Sized()
    with pytest.raises(UsageError, match="it has no size"):
        operate(module, Surgery(sizes={path: {name: size}}))
    operate(module, Surgery(sizes={"": {"out_features": 2, "widths": (2, 1)}}))
    assert (module.out_features, module.widths) == (2, [2, 1])


@pytest.mark.parametrize(
    ("before", "blocks"),
    [
        ((3, 2), ({0: (0, 3)},)), ((3, 2), ({0: (-1, 0)},)), ((3, 2), ({2: (0,)},)),
        ((3, 2), ({-1: (0,)},)), ((3, 2), ({0: (1, 0)},)), ((3, 2), ({0: (1, 1)},)),
        ((3, 2), ()), ((), ({0: (0,)},)), ((3, 2), ({0: (0,)}, {0: (0,)})),
        ((4, 2), ({0: (0,)}, {0: (2,)})), ((4, 2), ({1: (0,)}, {1: (0, 1)})),
    ],
)  # fmt: skip
def test_what_is_no_cut_is_none(
    before: tuple[int, ...], blocks: tuple[dict[int, tuple[int, ...]], ...]
) -> None:
    with pytest.raises(UsageError, match="no tensor of the shape"):
        TensorCut(before=before, blocks=blocks)


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
    operate(module, SURGERY, optimizer)
    (after,) = module.parameters()
    for key in keys:
        assert torch.equal(optimizer.state[after][key], gathered[key][[0, 2]])
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def test_an_optimizer_whose_state_does_not_go_by_entries_is_refused_unchanged() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    (before,) = module.parameters()
    optimizer = torch.optim.Adafactor(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(UsageError, match=r"Adafactor keeps a row_var of \(3, 1\) of 0\.weight"):
        operate(module, SURGERY, optimizer)
    assert optimizer.param_groups[0]["params"] == [before] == [*module.parameters()]
    with pytest.raises(UsageError, match="LBFGS cannot go on with other parameters"):
        operate(module, SURGERY, torch.optim.LBFGS(module.parameters()))
    other = torch.optim.SGD(nn.Linear(2, 3).parameters(), 0.1)
    with pytest.raises(UsageError, match="give the optimizer that trains this module"):
        operate(module, SURGERY, other)
    assert [before] == [*module.parameters()]
