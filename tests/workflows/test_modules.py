"""Torch modules, from definition to slim module and on in training."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tests.modules import Many, Plain, loaded, noisy, quiet
from tests.reporters import Heard
from yoloprune.data.calibration import given_calibration
from yoloprune.engines.table import run_in
from yoloprune.errors import PlanError, UsageError, VerificationError, WeightsError
from yoloprune.execution.module import Network
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import masked
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.models import load
from yoloprune.workflows.modules import (
    check_module,
    load_module,
    load_slim,
    module_of,
    with_module,
)
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.scores import scores_on_images
from yoloprune.workflows.verify import verify


@cache
def cut_of(name: str, share: float = 0.6) -> Cut:
    return prune(loaded(name)[2], {"macs": share}, multiple_of=1)


def double(values: object) -> tuple[Tensor, ...]:
    return tuple(own.double() for own in pytree.tree_leaves(values))


def relative(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


@pytest.mark.parametrize(
    "name",
    ["plain", "many", "resnet", "detector", "alexnet", "squeezenet-1.0", "mobilenet-v3-large"],
)
def test_the_slim_module_computes_what_the_masked_network_does(name: str) -> None:
    module, inputs, network = loaded(name)
    cut = cut_of(name)
    slim = cut.apply(copy.deepcopy(module))
    graph, parameters = masked(analyze(network.graph), network.parameters, cut.plan)
    with torch.no_grad():
        wanted = Network(graph, parameters, dtype=torch.float64)(*double(inputs))
        found = double(slim.double()(*double(inputs)))
        dense = double(copy.deepcopy(module).double()(*double(inputs)))
    errors = [relative(a, b) for a, b in zip(found, wanted, strict=True)]
    assert max(errors) <= 1e-10
    assert max(relative(a, b) for a, b in zip(wanted, dense, strict=True)) > 1e-6
    assert not network.graph.held
    assert cut.slim.cost.macs <= 0.6 * network.cost.macs


def test_a_slim_module_says_its_sizes_and_is_compiled_and_exported() -> None:
    module, inputs, _ = loaded("plain")
    slim = cut_of("plain").apply(copy.deepcopy(module))
    for own in slim.modules():
        if isinstance(own, nn.Conv2d):
            assert own.weight.shape[:2] == (own.out_channels, own.in_channels)
        elif isinstance(own, nn.Linear):
            assert own.weight.shape == (own.out_features, own.in_features)
        elif isinstance(own, nn.BatchNorm2d):
            assert own.weight.shape == own.running_var.shape == (own.num_features,)
    wanted = slim(*inputs)
    compiled = torch.compile(slim, backend="eager")
    assert torch.equal(compiled(*inputs), wanted)
    program = torch.export.export(slim, inputs).module()
    assert torch.allclose(program(*inputs), wanted, atol=1e-6)


def test_a_module_and_its_onnx_file_give_the_same_groups_plan_and_slim_outputs(
    tmp_path: Path,
) -> None:
    module, inputs, network = loaded("plain")
    path = tmp_path / "net.onnx"
    with quiet():
        torch.onnx.export(module, inputs, path, dynamo=True, optimize=False, verbose=False)
    of_file = load(path)
    groups = [
        [(own.producers, own.consumers, own.frozen_because) for own in analyze(model.graph).groups]
        for model in (network, of_file)
    ]
    assert groups[0] == groups[1]
    cuts = [prune(model, {"macs": 0.6}, multiple_of=1) for model in (network, of_file)]
    assert cuts[0].plan.keep == cuts[1].plan.keep
    slim = cuts[0].apply(copy.deepcopy(module)).double()
    (wanted,) = Network(cuts[1].slim.graph, cuts[1].slim.parameters, dtype=torch.float64)(
        *double(inputs)
    )
    assert relative(slim(*double(inputs)), wanted) <= 1e-12


def steps(
    module: nn.Module, optimizer: torch.optim.Optimizer, inputs: tuple[Tensor, ...], times: int
) -> None:
    module.train()
    for _ in range(times):
        optimizer.zero_grad()
        sum(own.square().mean() for own in pytree.tree_leaves(module(*inputs))).backward()
        optimizer.step()


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), 1e-2)


def trained(module: nn.Module, inputs: tuple[Tensor, ...]) -> torch.optim.Optimizer:
    optimizer = adam(module)
    steps(module, optimizer, inputs, 3)
    return optimizer


def many() -> tuple[nn.Module, tuple[Tensor, ...]]:
    module, inputs, _ = loaded("many")
    # Statistics of a batch of one are none.
    return copy.deepcopy(module), tuple(own.repeat(2, 1, 1, 1) for own in inputs)


def test_optimizers_and_averages_are_sliced_alike_and_go_on() -> None:
    module, inputs = many()
    optimizer = trained(module, inputs)
    average = torch.optim.swa_utils.AveragedModel(module)
    before = {name: optimizer.state[own] for name, own in module.named_parameters()}
    cut = cut_of("many")
    cut.apply(module, optimizer=optimizer)
    cut.apply(average.module)
    (surgery,) = module_of(cut.slim).surgeries
    for name, own in module.named_parameters():
        assert own is optimizer.param_groups[0]["params"][[*before].index(name)]
        state = optimizer.state[own]
        if name in surgery.tensors:
            kept = surgery.tensors[name].array
            assert torch.equal(state["exp_avg"], kept.tensor(before[name]["exp_avg"]))
        assert state["exp_avg_sq"].shape == own.shape
        assert torch.equal(dict(average.module.named_parameters())[name], own)
    assert module.again.weight is module.more.weight
    was = [own.detach().clone() for own in module.parameters()]
    steps(module, optimizer, inputs, 1)
    average.update_parameters(module)
    assert all(not torch.equal(a, b) for a, b in zip(was, module.parameters(), strict=True))


def test_what_was_trained_is_saved_and_rebuilt_of_its_definition(tmp_path: Path) -> None:
    module, inputs = many()
    cut = cut_of("many")
    cut.apply(module)
    trained(module, inputs)
    cut.save_module(module, tmp_path / "slim.safetensors")
    again = load_slim(Many(), tmp_path / "slim.safetensors")
    # What is in no state is the definition's own.
    again.offset, again.gain = module.offset, module.gain
    for own in (module, again):
        own.eval()
    found, wanted = (pytree.tree_leaves(own(*inputs)) for own in (again, module))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert sum(own.numel() for own in again.parameters()) == sum(
        own.numel() for own in module.parameters()
    )
    program = torch.export.export(again, inputs).module()
    exported = pytree.tree_leaves(program(*inputs))
    assert all(relative(a, b) <= 1e-6 for a, b in zip(exported, wanted, strict=True))


def test_a_training_that_was_killed_and_resumed_ends_with_the_same(tmp_path: Path) -> None:
    module, inputs, _ = loaded("plain")
    inputs = (inputs[0].repeat(2, 1, 1, 1),)
    cut = cut_of("plain")
    dense = copy.deepcopy(module)
    # Pruned in the middle: what is gathered of the dense module goes on.
    begun = (dense, trained(dense, inputs))
    (whole, optimizer), (half, own) = (copy.deepcopy(begun) for _ in range(2))
    cut.apply(whole, optimizer=optimizer)
    steps(whole, optimizer, inputs, 4)
    cut.apply(half, optimizer=own)
    steps(half, own, inputs, 2)
    cut.save_module(half, tmp_path / "half.safetensors")
    torch.save(own.state_dict(), tmp_path / "optimizer.pt")
    resumed = load_slim(Plain(), tmp_path / "half.safetensors")
    optimizer = adam(resumed)
    optimizer.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    steps(resumed, optimizer, inputs, 2)
    for own, name in ((whole, "whole"), (resumed, "resumed")):
        cut.save_module(own, tmp_path / f"{name}.safetensors")
    for suffix in ("json", "safetensors"):
        files = [tmp_path / f"{name}.{suffix}" for name in ("whole", "resumed")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_two_optimizers_follow_alike() -> None:
    module, inputs, _ = loaded("plain")
    together, apart = copy.deepcopy(module), copy.deepcopy(module)
    halves = [[*apart.parameters()][::2], [*apart.parameters()][1::2]]
    optimizers = [torch.optim.SGD(own, lr=0.1, momentum=0.9) for own in halves]
    one = torch.optim.SGD(together.parameters(), lr=0.1, momentum=0.9)
    for net, its in ((together, [one]), (apart, optimizers)):
        for cut in (False, True):
            if cut:
                cut_of("plain").apply(net, optimizer=its)
            sum(own.square().sum() for own in net(*inputs)).backward()
            for own in its:
                own.step()
                own.zero_grad()
    for left, right in zip(together.parameters(), apart.parameters(), strict=True):
        assert torch.equal(left, right)


def test_two_prunings_compose(tmp_path: Path) -> None:
    module, inputs, _ = loaded("plain")
    first = cut_of("plain", 0.7)
    second = prune(first.slim, {"macs": 0.7}, multiple_of=1)
    slim = second.apply(first.apply(copy.deepcopy(module)))
    second.save_module(slim, tmp_path / "both.safetensors")
    again = load_slim(Plain(), tmp_path / "both.safetensors").eval()
    assert torch.equal(again(*inputs), slim(*inputs))
    third = prune(load_module(slim, inputs), {"macs": 0.8}, multiple_of=1)
    third.apply(slim)
    third.save_module(slim, tmp_path / "three.safetensors", before=[first, second])
    again = load_slim(Plain(), tmp_path / "three.safetensors").eval()
    assert torch.equal(again(*inputs), slim(*inputs))


def test_a_second_pruning_keeps_what_training_changed_after_recovery() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 2, 3))
    images = torch.rand(4, 3, 12, 12)
    first = prune(load_module(net, images[:1]), {"macs": 0.7}, multiple_of=1)
    recover(first, images).apply(net)
    second = prune(recover(first, images).slim, {"macs": 0.7}, multiple_of=1)
    with torch.no_grad():
        for own in net.parameters():
            own.add_(1)
    before = [own.clone() for own in net.parameters()]
    again = recover(second, images)
    with pytest.raises(UsageError, match="not what was pruned: it was trained since"):
        again.apply(net)
    assert all(map(torch.equal, before, net.parameters()))
    second.apply(net)
    for old, new in zip(before, net.parameters(), strict=True):
        assert set(new.flatten().tolist()) <= set(old.flatten().tolist())


class Twice(nn.Module):
    """Reads a kernel as it is, and turned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.kernel = nn.Parameter(torch.randn(8, 8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(self.first(x).relu(), self.kernel).relu()
        return self.last(nn.functional.conv2d(x, self.kernel.transpose(0, 1)).relu())


class Standardized(nn.Conv2d):
    """Works its kernel out of a parameter."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = (self.weight - self.weight.mean()) / self.weight.std()
        return nn.functional.conv2d(x, kernel, self.bias)


def standardized() -> nn.Module:
    layers = nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), Standardized(8, 8, 1)
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))


@pytest.mark.parametrize(
    ("make", "said"),
    [(Twice, "the module (Twice)"), (standardized, "4 (Standardized)")],
)
def test_what_code_works_out_of_parameters_is_scored_and_stays_in_recovery(
    make: Callable[[], nn.Module], said: str
) -> None:
    torch.manual_seed(0)
    images, module, heard = torch.rand(8, 3, 6, 6), make(), Heard()
    network = load_module(module, images[:1])
    reasons = {own.reason for own in network.graph.held}
    assert reasons and all(f"{said} works its kernel out" in own for own in reasons)
    cut = prune(network, {"macs": 0.6}, criterion="taylor", calibration=images, multiple_of=1,
                refit=False, loss=lambda found, _: found[0].square().sum())  # fmt: skip
    again = recover(cut, images, reporter=heard)
    (line,) = (own for own in heard.warnings if "works kernels out" in own)
    assert f"the code of {said} works kernels out of parameters" in line
    slim, refitted = (own.apply(copy.deepcopy(module)) for own in (cut, again))
    with torch.no_grad():
        wanted = module(images)
        errors = [float((own(images) - wanted).square().mean()) for own in (slim, refitted)]
    assert errors[1] < errors[0]


def test_what_a_module_cannot_be_given_is_not_called_recovered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ModuleDocument, "worked_out", lambda own: {})
    torch.manual_seed(0)
    images = torch.rand(8, 3, 6, 6)
    cut = prune(load_module(Twice(), images[:1]), {"macs": 0.7}, multiple_of=1)
    with pytest.raises(VerificationError, match="use the cut as it is, without recovery"):
        recover(cut, images)


class Unsaved(nn.Module):
    """Its bias is in no state."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.middle = nn.Conv2d(8, 8, 1, bias=False)
        self.register_buffer("bias", torch.randn(8), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.last(nn.functional.conv2d(x, self.middle.weight, self.bias).relu())


class Extra(Unsaved):
    """Its state holds more than tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": 3}


def test_what_a_file_cannot_hold_is_not_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images, path, module = torch.rand(8, 3, 6, 6), tmp_path / "slim.safetensors", Unsaved()
    cut = prune(load_module(module, images[:1]), {"macs": 0.5}, multiple_of=1)
    again = recover(cut, images)
    for save in (
        lambda: again.save(tmp_path / "slim"),
        lambda: again.save_module(again.apply(copy.deepcopy(module)), path),
    ):
        with pytest.raises(UsageError, match="recovery changed bias, which is in no state"):
            save()
    extra = prune(load_module(Extra(), images[:1]), {"macs": 0.7}, multiple_of=1)
    with pytest.raises(UsageError, match="its state holds _extra_state, which is no tensor"):
        extra.save_module(extra.apply(Extra()), path)
    assert not [*tmp_path.iterdir()]


class Cold(nn.Module):
    """Makes a bias when it is first called, which is never cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "bias"):
            self.register_buffer("bias", torch.ones(2))
        x = self.first(x).relu()
        return nn.functional.conv2d(x, self.last.weight, self.bias)


def test_a_copy_that_lacks_what_is_written_is_refused_unchanged() -> None:
    torch.manual_seed(0)
    images, module = torch.rand(8, 3, 6, 6), Cold()
    cold = copy.deepcopy(module)
    module(images)
    cut = recover(prune(load_module(module, images[:1]), {"macs": 0.7}, multiple_of=1), images)
    with pytest.raises(UsageError, match="its bias is not there, and the plan was made of"):
        cut.apply(cold)
    assert cold.first.out_channels == cold.first.weight.shape[0] == 8
    cold(images)
    assert cut.apply(cold).first.out_channels < 8


def test_parameters_of_one_memory_are_refused_when_a_module_is_loaded() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    module[1].weight = nn.Parameter(module[0].weight.data)
    with pytest.raises(UsageError, match=r"0\.weight and 1\.weight are two tensors of the same"):
        load_module(module, torch.rand(1, 3, 4, 4))


class Literals(nn.Module):
    """Has numbers and a condition in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.where(x > 0.1, x * 0.1, x / 3))


def test_engines_take_numbers_of_code_and_recovery_conditions() -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 3, 6, 6)
    cut = prune(load_module(Literals(), images[:1]), {"macs": 0.7}, multiple_of=1)
    slim = recover(cut, images).slim
    ours, theirs = (
        run_in(slim, name, device="cpu")(images[:1]) for name in ("torch", "onnxruntime")
    )
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], atol=1e-5)


class Positions(nn.Module):
    """Has a table and a factor that are trained and never cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.table = nn.Parameter(torch.randn(1, 1, 6, 6))
        self.factor = nn.Parameter(torch.tensor(1.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.first(x) + self.table).relu() * self.factor)


def test_what_is_never_cut_is_trained_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images, module = torch.rand(2, 3, 6, 6), Positions()
    cut = prune(load_module(module, images[:1]), {"macs": 0.7}, multiple_of=1)
    trained(cut.apply(module), (images,))
    network = with_module(cut.slim, module.eval())
    check_module(network)
    again = prune(network, {"macs": 0.8}, multiple_of=1)
    again.save(tmp_path / "slim")
    assert read_cut(tmp_path / "slim", network).plan == again.plan


def test_a_folder_is_written_read_and_verified(tmp_path: Path) -> None:
    module, inputs, network = loaded("plain")
    cut = cut_of("plain")
    names = cut.save(tmp_path / "slim")
    assert {"slim.safetensors", "slim.json", "plan.json", "report.md"} <= {*names}
    again = read_cut(tmp_path / "slim", network)
    assert again.plan == cut.plan
    assert again.slim.cost == cut.slim.cost
    assert "verified" in str(verify(network, tmp_path / "slim"))
    slim = load_slim(Plain(), tmp_path / "slim").eval()
    assert torch.equal(slim(*inputs), cut.apply(copy.deepcopy(module))(*inputs))
    other = load_module(module, inputs)
    document = module_of(other)
    with pytest.raises(PlanError, match="made for another network"):
        read_cut(tmp_path / "slim", Model(graph=loaded("many")[2].graph, parameters={},
                                          document=document))  # fmt: skip


def test_the_users_own_loss_scores_and_recovery_goes_by_inputs_that_are_given() -> None:
    module, _, network = loaded("plain")
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(16) % 4

    def loss(outputs: Sequence[Tensor], numbers: range) -> Tensor:
        wanted = labels[numbers.start : numbers.stop]
        return nn.functional.cross_entropy(outputs[0], wanted, reduction="sum")

    found = scores_on_images("taylor", network, given_calibration(images), loss=loss, seed=0)
    assert found is not None
    hidden = module.hidden(module.features(images[:14]).mean((2, 3))).relu()
    total = loss([module.scores(hidden)], range(14))
    (gradient,) = torch.autograd.grad(total, hidden)
    wanted = (gradient * hidden).detach().double().square().mean(0).numpy()
    # Each of these neurons costs as much.
    ratios = found[3][wanted > 0] / wanted[wanted > 0]
    assert np.ptp(ratios) <= 1e-4 * ratios.max()
    settings = {"criterion": "taylor", "calibration": images, "multiple_of": 1}
    prune(network, {"macs": 0.6}, loss=loss, **settings)
    with pytest.raises(UsageError, match="Darknet network"):
        prune(network, {"macs": 0.6}, **settings)
    cut = cut_of("plain")
    again = recover(cut, images)
    assert prune(network, {"macs": 0.6}, loss=loss, refit=False, **settings).recovery is None
    slim, refitted = (own.apply(copy.deepcopy(module)) for own in (cut, again))
    with torch.no_grad():
        dense = module(images[14:])
        errors = [float((own(images[14:]) - dense).square().mean()) for own in (slim, refitted)]
    assert errors[1] < errors[0]


def test_network_inputs_are_images_at_hand() -> None:
    module, _, network = loaded("plain")
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    settings = {"calibration": images, "multiple_of": 1}
    cut = prune(network, {"macs": 0.6}, **settings)
    asked = prune(network, {"macs": 0.6}, criterion="reconstruction", **settings)
    exact = prune(network, {"macs": 0.6}, refit=False, **settings)
    assert cut.settings["criterion"] == exact.settings["criterion"] == "reconstruction"
    assert exact.recovery is None
    slim, *others = (own.apply(copy.deepcopy(module)) for own in (cut, asked, recover(cut, images)))
    for other in others:
        state = other.state_dict()
        assert all(torch.equal(own, state[name]) for name, own in slim.state_dict().items())
    assert prune(network, {"macs": 0.6}, criterion="l2", refit=False, **settings).plan.keep == (
        cut_of("plain").plan.keep
    )


class _Beside(Plain):
    """Gives its scores twice, and what follows from no image beside them."""

    names: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("names", torch.rand(4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores = super().forward(images)
        return scores, scores, self.names, self.names * 2 + torch.arange(4), torch.ones(2)


def test_what_is_given_twice_or_always_stands_beside_the_rest() -> None:
    module, images = noisy(_Beside()), torch.rand(16, 3, 16, 16)
    cut = prune(load_module(module, images[:1]), {"macs": 0.6}, multiple_of=1)
    assert len(cut.dense.graph.outputs) == 4
    slim, again = (own.apply(copy.deepcopy(module)) for own in (cut, recover(cut, images)))
    with torch.no_grad():
        found, wanted, refitted = (own(images) for own in (slim, module, again))
    assert found[0] is found[1] and not torch.equal(found[0], wanted[0])
    assert all(torch.equal(a, b) for a, b in zip(found[2:], wanted[2:], strict=True))
    errors = [float((own[0] - wanted[0]).square().mean()) for own in (found, refitted)]
    assert errors[1] < errors[0]


def test_what_is_no_fitting_module_is_refused_before_anything_changes(tmp_path: Path) -> None:
    module, _, network = loaded("plain")
    cut = cut_of("plain")
    other = Plain(classes=9)
    other.hidden = nn.Linear(16, 11)
    before = {name: own.clone() for name, own in other.state_dict().items()}
    with pytest.raises(UsageError, match=r"its hidden.weight is \(11, 16\), and the plan was made"):
        cut.apply(other)
    assert all(torch.equal(own, before[name]) for name, own in other.state_dict().items())
    slim = cut.apply(copy.deepcopy(module))
    with pytest.raises(UsageError, match="give the module that was pruned"):
        cut.apply(slim)
    with pytest.raises(UsageError, match="not the slim module of this cut"):
        cut.save_module(module, tmp_path / "slim.safetensors")
    with pytest.raises(UsageError, match=r"a module is written as a \.safetensors"):
        cut.save_module(slim, tmp_path / "slim.pt")
    with pytest.raises(UsageError, match="read from a file"):
        module_of(Model(graph=network.graph, parameters={}, document=_File()))  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]


class _File:
    title = "net"


def test_files_that_are_damaged_are_refused(tmp_path: Path) -> None:
    cut, path = cut_of("plain"), tmp_path / "slim.safetensors"
    cut.slim.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match=r"slim\.safetensors: damaged"):
        load_slim(Plain(), path)
    path.write_bytes(data)
    with pytest.raises(PlanError, match=r"its scores\.weight is \(5, 10\)"):
        load_slim(Plain(classes=5), path)
    other = Plain()
    other.register_buffer("mean", torch.zeros(3))
    with pytest.raises(WeightsError, match="not the state of this module"):
        load_slim(other, path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(PlanError, match=r"slim\.json"):
        load_slim(Plain(), path)


def test_a_module_that_is_not_its_graph_is_found_out() -> None:
    _, _, network = loaded("plain")
    wrong = dict(network.parameters)
    check_module(network)
    document = module_of(network)
    module = copy.deepcopy(document.module)
    with torch.no_grad():
        module.scores.bias.add_(1)
    odd = replace(document, module=module, origins={})
    with pytest.raises(VerificationError, match="differ"):
        check_module(Model(graph=network.graph, parameters=wrong, document=odd))
