"""What modules' code lets go."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.modules import Block, loaded, noisy
from yoloprune.errors import GraphError
from yoloprune.execution.module import Network
from yoloprune.graph.edits import Edits
from yoloprune.graph.edits import edit as graph_edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import masked
from yoloprune.workflows import trial
from yoloprune.workflows.modules import load_module
from yoloprune.workflows.prune import prune


def slim_sizes(name: str) -> nn.Module:
    module, inputs, network = loaded(name)
    slim = prune(network, {"macs": 0.6}, multiple_of=1).apply(copy.deepcopy(module))
    slim(*inputs)
    return slim


def test_halves_go_in_pairs_and_sizes_that_a_module_keeps_are_set() -> None:
    _, _, network = loaded("halves")
    graph = analyze(network.graph)
    assert network.graph.held == ()
    # Halves by `chunk`, with what is added to one of them; and those that are shuffled.
    assert set(network.graph.parts.values()) == {(1, 2)}
    assert [group.size for group in graph.prunable] == [8, 10, 8, 12]
    slim = slim_sizes("halves")
    assert slim.c == slim.sized.conv.out_channels // 2 < 8
    assert slim.into.conv.out_channels < 16


def test_heads_are_thinned_and_numbers_in_the_code_freeze_by_name() -> None:
    _, _, network = loaded("attention")
    frozen = {
        member.node: group.frozen_because
        for group in analyze(network.graph).groups
        for member in group.producers
        if group.frozen_because
    }
    assert "how many is in the code of the module (Attention)" in frozen.values()
    assert len(frozen) == 2
    slim = slim_sizes("attention")
    assert slim.qkv.out_channels == slim.heads * (2 * slim.key + slim.head)
    assert slim.heads == 2
    assert slim.fixed.out_channels == 12
    assert slim.scale == 6**-0.5


def test_words_and_what_is_normalized_in_groups_are_thinned() -> None:
    _, _, network = loaded("words")
    sizes = {member.node: group.size for group in analyze(network.graph).prunable
             for member in group.producers}  # fmt: skip
    assert sorted(sizes.values()) == [4, 12, 12]
    slim = slim_sizes("words")
    assert slim.into.out_features == slim.q.in_features < 12
    assert slim.norm.num_channels == slim.patch.out_channels == 4 * slim.norm.num_groups < 16
    assert slim.norm.weight.shape == (slim.patch.out_channels,)


class _Limits(nn.Module):
    """Keeps counts of channels, and numbers that only happen to be as many."""

    def __init__(self, widest: int = 12) -> None:
        super().__init__()
        self.c, self.half, self.out_channels = 8, 4, 8
        self.limit, self.widest = 8, widest
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.third, self.last = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] <= self.widest
        if x.shape[-2] > self.limit:
            x = x[..., : self.limit, :]
        x = self.second(self.first(x).relu()).view(x.shape[0], self.c, *x.shape[2:])
        left, right = x.chunk(2, 1)
        return self.last(self.third(left * right.sigmoid()).relu())

    def as_split(self, x: Tensor) -> Tensor:
        left, right = self.second(self.first(x).relu()).split((self.half, self.half), 1)
        return self.last(self.third(left * right.sigmoid()).relu())


@pytest.mark.parametrize(("side", "widest"), [(4, 12), (8, 8)])
def test_a_number_that_only_happens_to_be_a_count_of_channels_stays(side: int, widest: int) -> None:
    """Whether the example shows that it does, or not."""
    module, image = noisy(_Limits(widest)), torch.rand(1, 3, 4, side)
    network = load_module(module, image)
    assert not network.graph.held
    cut = prune(network, {"macs": 0.5}, multiple_of=1)
    slim = cut.apply(copy.deepcopy(module))
    assert cut.sizes == {
        name: (getattr(module, name), getattr(slim, name)) for name in ("c", "half", "out_channels")
    }
    assert f"sizes set that the module keeps: c 8 to {slim.c}, half 4" in str(cut)
    assert (slim.widest, slim.limit) == (widest, 8)
    assert slim(torch.rand(1, 3, 9, 7)).shape == (1, 2, 8, 7)
    assert slim.c == slim.second.out_channels == slim.out_channels < 8
    # What the run does not read, and its calls are told, another function reads.
    assert slim.half == slim.c // 2
    assert torch.allclose(slim.as_split(image), slim(image), atol=1e-6)


class _Noisy(nn.Module):
    """Adds noise in training, of which it takes as much as it keeps a number of."""

    noise: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.first, self.inner = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
        self.last = nn.Conv2d(6, 2, 1)
        self.register_buffer("noise", torch.rand(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if self.training:
            x = x + self.noise[: self.width]
        return self.last(self.inner(x.relu()).relu())


def test_a_size_that_counts_in_training_alone_keeps_its_channels() -> None:
    module, image = noisy(_Noisy()), torch.rand(2, 3, 4, 4)
    network = load_module(module, image)
    (reason,) = {own.reason for own in network.graph.held}
    assert reason.startswith("read by the module (_Noisy) in training alone")
    slim = prune(network, {"macs": 0.8}, multiple_of=1).apply(module).train()
    assert slim.width == slim.first.out_channels == 8
    assert slim.inner.out_channels < 6
    slim(image)


class _Encoder(nn.Module):
    """torch's own layer on the cells of an image, with as many heads as each has channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(16, 4, 64)
        self.out = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        words = self.layer(self.stem(images).flatten(2).permute(2, 0, 1))
        return self.out(words.mean(0))


def test_layers_of_attention_of_torchs_own_are_thinned_where_their_code_lets_them() -> None:
    module, images = noisy(_Encoder()), torch.rand(2, 3, 16, 16)
    network = load_module(module, images)
    assert {own.reason for own in network.graph.held} == {
        "how many is in the code of layer.self_attn (MultiheadAttention)"
    }
    assert len(network.graph.held) == 2
    cut = prune(network, {"macs": 0.6}, multiple_of=1)
    slim = cut.apply(copy.deepcopy(module))
    assert slim.layer.linear1.out_features == slim.layer.linear2.in_features < 64
    graph, parameters = masked(analyze(network.graph), network.parameters, cut.plan)
    wanted = Network(graph, parameters, dtype=torch.float64)(images.double())
    assert torch.allclose(slim.double()(images.double()), wanted[0], rtol=0, atol=1e-7)


def test_what_cannot_be_cut_in_the_graph_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(graph: Graph, parameters: Mapping[str, Any], edits: Edits) -> Any:
        found = graph_edit(graph, parameters, edits)
        if found[1]["1.weight"].shape[0] < 8:
            raise GraphError("no shape")
        return found

    monkeypatch.setattr(trial, "edit", edit)
    module = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 2, 1))
    (held,) = load_module(module, torch.rand(1, 3, 4, 4)).graph.held
    assert held.filters == tuple(range(8))


class _Heads(nn.Module):
    """A second head, for training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.hidden = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
        self.head, self.second = nn.Conv2d(6, 2, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        found, more = self.head(self.hidden(x).relu()), self.second(x)
        return (found, more) if self.training or self.both else found

    both = False


def test_what_a_head_reads_that_gives_nothing_stays_unless_its_outputs_are_chosen() -> None:
    module, image = _Heads(), torch.rand(2, 3, 4, 4)
    network = load_module(module, image)
    reasons = {own.node: own.reason for own in network.graph.held}
    (reason,) = reasons.values()
    assert "or of second (Conv2d), which runs and gives nothing that counts: `outputs`" in reason
    module.both = True
    network = load_module(module, image)
    assert not network.graph.held
    slim = prune(network, {"macs": 0.5}, multiple_of=1).apply(module).train()
    assert slim.second.in_channels == slim.stem.out_channels < 8
    sum(own.sum() for own in slim(image)).backward()
    assert all(own.grad is not None for own in slim.parameters())
    slim.both = False
    assert isinstance(slim.eval()(image), Tensor)


class _Aided(nn.Module):
    """Two heads that run in training alone, as GoogLeNet's; the second with a loss for others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = Block(3, 8), Block(8, 10)
        self.last, self.drop = Block(10, 6), nn.Dropout(0.5)
        self.head = nn.Linear(6, 2)
        self.aid, self.more = nn.Conv2d(8, 2, 1), nn.ModuleDict({"aid": nn.Conv2d(6, 2, 1)})

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        stem = self.stem(x)
        last = self.last(self.inner(stem))
        found = self.head(self.drop(last.mean((2, 3))))
        return (found, self.aid(stem), self.more["aid"](last)) if self.training else found


def test_what_is_read_in_training_alone_stays() -> None:
    module, image = noisy(_Aided()).train(), torch.rand(1, 3, 4, 4)
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(1)
    network = load_module(module, image)
    assert torch.equal(torch.rand(2), torch.rand(2, generator=torch.Generator().manual_seed(1)))
    assert {own.reason.partition(" in training alone: ")[0] for own in network.graph.held} == {
        "read by aid (Conv2d)", "read by more.aid (Conv2d)"
    }  # fmt: skip
    slim = prune(network, {"macs": 0.7}, multiple_of=1).apply(module)
    assert all(torch.equal(a, b) for a, b in zip(
        network.document.module.state_dict().values(), before.values(), strict=True
    ))  # fmt: skip
    assert slim.inner.conv.out_channels < 10
    sum(own.square().sum() for own in slim(torch.rand(2, 3, 4, 4))).backward()
    assert all(own.grad is not None for own in slim.parameters())


class _Labeled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = Block(3, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        found = self.head(self.stem(x)).mean((2, 3))
        return nn.functional.cross_entropy(found, labels) if self.training else found


def test_what_trains_with_labels_alone_is_not_tried_so() -> None:
    assert not load_module(noisy(_Labeled()), torch.rand(1, 3, 4, 4)).graph.held


def test_what_is_parametrized_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    nn.utils.parametrizations.weight_norm(module[0])
    (held,) = load_module(module, torch.rand(1, 3, 4, 4)).graph.held
    assert "0 (ParametrizedConv2d), which is parametrized: take that away before" in held.reason
    # What it says to do.
    _, _, told = held.reason.partition("before, by ")
    eval(told, {"torch": torch, "net": module})
    assert not load_module(module, torch.rand(1, 3, 4, 4)).graph.held
