import pytest
import torch
from torch import nn

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.checks import alike, check, check_alone
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.frontends.torch.surgery import Size, Surgery, TensorCut

CUT = TensorCut(before=(3, 2), blocks=({0: (0, 2)},))
SURGERY = Surgery(tensors={"0.weight": CUT}, sizes={"0": {"out_features": 2}})


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
    operate(module, Surgery(sizes={"": {"widths": (2, 1)}}))
    assert module.widths == [2, 1]


@pytest.mark.parametrize("size", [0, 4, 10**9])
def test_no_size_grows_or_vanishes(size: int) -> None:
    module = _Sized()
    for name, new in (("out_features", size), ("widths", (3, size))):
        said = (
            rf"its size \.{name} is \[?3.*, and the plan sets it to .*{size}\)?, which no pruning"
        )
        with pytest.raises(UsageError, match=said):
            operate(module, Surgery(sizes={"": {name: new}}))


@pytest.mark.parametrize(
    ("layer", "sizes", "said"),
    [
        (nn.Linear(2, 3, bias=False), {}, "0.out_features at 3, and tensors of 2"),
        (nn.Linear(2, 3, bias=False), {"out_features": 1}, "0.out_features at 1, and tensors"),
        (nn.Conv1d(2, 4, 1), {"groups": 1, "in_channels": 1}, "0.in_channels at 1, and tensors"),
        (nn.BatchNorm2d(3), {"num_features": 2}, "0.num_features at 2, and tensors of 3"),
    ],
)
def test_layers_say_what_their_tensors_do(
    layer: nn.Module, sizes: dict[str, Size], said: str
) -> None:
    tensors = SURGERY.tensors if isinstance(layer, nn.Linear) else {}
    module = nn.Sequential(layer)
    with pytest.raises(UsageError, match=f"the plan leaves {said}"):
        operate(module, Surgery(tensors=tensors, sizes={"0": sizes}))


def test_surgeries_in_turn_and_numbers_are_looked_at_together() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    again = Surgery(
        tensors={"0.weight": TensorCut(before=(2, 2), blocks=({0: (1,)},))},
        sizes={"0": {"out_features": 1}},
    )
    check(module, [SURGERY, again], {"0.weight": torch.zeros(1, 2)})
    with pytest.raises(UsageError, match=r"its 0\.weight is \(2, 2\), and the plan was made of"):
        check(module, [SURGERY, SURGERY])
    for name in ("0.weight", "0.cache"):
        with pytest.raises(UsageError, match=rf"its {name} is (\(1, 2\)|not there), and the plan"):
            check(module, [SURGERY, again], {name: torch.zeros(3, 2)})


def test_what_has_no_shape_yet_is_refused() -> None:
    with pytest.raises(UsageError, match=r"its 0\.weight has no shape yet: call the module once"):
        check(nn.Sequential(nn.LazyLinear(3)), [SURGERY])


@pytest.mark.parametrize("hook", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_what_is_replaced_are_refused(hook: str) -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    handle = getattr(module[0].weight, hook)(lambda own: None)
    with pytest.raises(UsageError, match=r"its 0\.weight has hooks, which would stay with"):
        operate(module, SURGERY)
    assert module[0].weight.shape == (3, 2)
    handle.remove()
    operate(module, SURGERY)


def test_what_is_kept_of_a_parameter_and_does_not_go_by_its_entries_is_refused() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    module[0].weight.scales = torch.ones(3)
    with pytest.raises(UsageError, match=r"its 0\.weight keeps a scales of \(3,\), which does not"):
        operate(module, SURGERY)


def test_parameters_that_share_memory_are_refused() -> None:
    one, other = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
    module = nn.Sequential(one, other)
    other.weight = nn.Parameter(one.weight.data)
    with pytest.raises(UsageError, match=r"0\.weight and 1\.weight are two tensors of the same"):
        operate(module, SURGERY)
    # One tensor of two names, others, and neighbours in one memory are none of those.
    other.weight = one.weight
    check_alone("", named_tensors(module), ["0.weight"])
    both = torch.rand(2, 3, 2)
    one.weight, other.weight = (nn.Parameter(own) for own in both)
    check_alone("", named_tensors(module), ["0.weight"])
    one.weight = nn.Parameter(both[:, 0])
    with pytest.raises(UsageError, match="two tensors of the same memory"):
        check_alone("", named_tensors(module), ["1.weight"])
    check_alone("", named_tensors(module), ["else"])


def test_values_of_a_tensors_shape_go_by_its_entries() -> None:
    tensor = torch.ones(2, 3)
    assert alike(tensor * 2, tensor)
    assert not alike(torch.ones(3), tensor) and not alike((2, 3), tensor)


def test_an_optimizer_whose_state_does_not_go_by_entries_is_refused_unchanged() -> None:
    module = nn.Sequential(nn.Linear(2, 3, bias=False))
    (before,) = module.parameters()
    optimizer = torch.optim.Adafactor(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(UsageError, match=r"Adafactor keeps a row_var of \(3, 1\) of 0\.weight"):
        operate(module, SURGERY, [optimizer])
    assert optimizer.param_groups[0]["params"] == [before] == [*module.parameters()]
    with pytest.raises(UsageError, match="LBFGS cannot go on with other parameters"):
        operate(module, SURGERY, [torch.optim.LBFGS(module.parameters())])
    other = torch.optim.SGD(nn.Linear(2, 3).parameters(), 0.1)
    with pytest.raises(UsageError, match="give the optimizer that trains this module"):
        operate(module, SURGERY, [other])
    assert [before] == [*module.parameters()]
