"""Weight masks: which weights go, and what is refused."""

from dataclasses import replace

import pytest
import torch

from tests.pruning.weights.tiny import ARRAYS, FIRST, GRAPH, SPEC, masks
from tests.random_networks import random_state
from yoloprune.errors import PlanError, UsageError
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.state import ConvParameters
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.cost import cost
from yoloprune.graph.shapes import facts
from yoloprune.pruning.choices import WeightScope
from yoloprune.pruning.weights.masks import (
    MaskSettings,
    Pattern,
    apply_masks,
    kept_share,
    left_dense,
    magnitude_masks,
)

TWO_LAYERS = lower(
    parse_cfg("""[net]
height=8
width=8
channels=2
[convolutional]
filters=8
size=1
activation=linear
[convolutional]
filters=6
size=1
activation=linear
""")
)
SECOND = "layer_1.kernel"


def two_layers(first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
    state = {
        0: ConvParameters(kernel=first.reshape(8, 2, 1, 1), bias=torch.zeros(8)),
        1: ConvParameters(kernel=second.reshape(6, 8, 1, 1), bias=torch.zeros(6)),
    }
    return parameters(state)


def test_the_smallest_weights_of_the_network_go() -> None:
    made = masks(0.7)
    gone = torch.cat([ARRAYS[i][~mask].abs() for i, mask in made.kept.items()])
    stay = torch.cat([ARRAYS[i][mask].abs() for i, mask in made.kept.items()])
    assert len(gone) == int(0.7 * (len(gone) + len(stay)))
    assert gone.max() <= stay.min()


def test_in_the_scope_of_a_layer_each_loses_the_same_share() -> None:
    for index, mask in masks(0.7, scope=WeightScope.LAYER).kept.items():
        kernel = ARRAYS[index]
        assert (~mask).sum() == int(0.7 * kernel.numel())
        assert kernel[~mask].abs().max() <= kernel[mask].abs().min()


def test_ties_go_by_layer_and_place() -> None:
    state = two_layers(torch.ones(16), torch.ones(48))
    made = magnitude_masks(TWO_LAYERS, state, MaskSettings(sparsity=0.125))
    assert made.kept[FIRST].flatten().tolist() == [False] * 8 + [True] * 8
    assert made.kept[SECOND].all()


def test_zeros_go_first_so_that_masks_grow() -> None:
    for pattern in (Pattern.UNSTRUCTURED, Pattern.ONE_BY_FOUR):
        settings = MaskSettings(sparsity=0.5, pattern=pattern)
        first = magnitude_masks(GRAPH, ARRAYS, settings)
        sparse = apply_masks(GRAPH, ARRAYS, first)
        again = magnitude_masks(GRAPH, sparse, settings)
        more = magnitude_masks(GRAPH, sparse, replace(settings, sparsity=0.6))
        for index, mask in first.kept.items():
            assert torch.equal(mask, again.kept[index])
            assert not (more.kept[index] & ~mask).any()


@pytest.mark.parametrize("pattern", list(Pattern))
def test_what_is_zero_already_is_masked_though_less_is_asked_for(pattern: Pattern) -> None:
    sparse = apply_masks(GRAPH, ARRAYS, masks(0.9))
    made = magnitude_masks(GRAPH, sparse, MaskSettings(sparsity=0.5, pattern=pattern))
    for index, mask in made.kept.items():
        assert not (mask & (sparse[index] == 0)).any()


def test_a_layer_that_is_empty_already_is_no_error() -> None:
    state = two_layers(torch.zeros(16), torch.ones(48))
    made = magnitude_masks(TWO_LAYERS, state, MaskSettings(sparsity=0.1))
    assert not made.kept[FIRST].any() and made.kept[SECOND].all()


GROUPED_SPEC = parse_cfg("""[net]
height=8
width=8
channels=6
[convolutional]
filters=8
size=1
activation=linear
[convolutional]
groups=8
filters=8
size=3
activation=linear
[convolutional]
groups=2
filters=8
size=1
activation=linear
""")
GROUPED = lower(GROUPED_SPEC)
THREE_SPEC = parse_cfg("[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=8\nsize=1\n")
THREE = lower(THREE_SPEC)


def test_a_pattern_leaves_layers_dense_whose_groups_have_no_fours() -> None:
    state = parameters(random_state(GROUPED_SPEC, 1, torch.float32))
    for pattern, dense in ((Pattern.ONE_BY_FOUR, [1]), (Pattern.TWO_OF_FOUR, [0, 1])):
        settings = MaskSettings(sparsity=0.5, pattern=pattern)
        made = magnitude_masks(GROUPED, state, settings)
        assert left_dense(GROUPED, settings) == [f"layer_{index}.conv" for index in dense]
        assert made.kept.keys() == {f"layer_{index}.kernel" for index in {0, 1, 2} - set(dense)}
        # What cannot be masked does not count.
        sparse = apply_masks(GROUPED, state, made)
        assert kept_share(GROUPED, sparse, settings) == pytest.approx(0.5)
    two = MaskSettings(sparsity=0.5, pattern=Pattern.TWO_OF_FOUR)
    with pytest.raises(PlanError, match="no convolution can have the pattern 2:4"):
        magnitude_masks(THREE, parameters(random_state(THREE_SPEC, 1, torch.float32)), two)


def test_with_regard_to_time_multiplications_fall_as_far_as_weights() -> None:
    # Late layers have most weights, early ones most places: by magnitude alone time stays.
    spec = yolov3_tiny(classes=1, width=0.5, size=(128, 128))
    graph, state = lower(spec), random_state(spec)
    arrays = parameters(state)
    shares = {}
    found = {}
    for scope in (WeightScope.GLOBAL, WeightScope.TIME):
        found[scope] = magnitude_masks(graph, arrays, MaskSettings(sparsity=0.9, scope=scope)).kept
        each = {node.name: node.macs for node in cost(graph, facts(graph).shapes).per_node}
        left = sum(
            float(mask.float().mean()) * each[name.replace("kernel", "conv")]
            for name, mask in found[scope].items()
        )
        shares[scope] = left / sum(each.values())
        count = sum(int(mask.sum()) for mask in found[scope].values())
        assert count / sum(mask.numel() for mask in found[scope].values()) == pytest.approx(
            0.1, abs=1e-3
        )
        assert all(mask.any() for mask in found[scope].values())
    assert shares[WeightScope.TIME] < 0.6 * shares[WeightScope.GLOBAL]
    fewer = magnitude_masks(graph, arrays, MaskSettings(sparsity=0.5, scope=WeightScope.TIME)).kept
    assert all((fewer[name] >= mask).all() for name, mask in found[WeightScope.TIME].items())


@pytest.mark.parametrize("scope", list(WeightScope))
def test_to_exclude_everything_is_an_error(scope: WeightScope) -> None:
    state = parameters(random_state(THREE_SPEC, 1, torch.float32))
    settings = MaskSettings(sparsity=0.5, scope=scope, exclude=("first",))
    for use in (magnitude_masks, kept_share):
        with pytest.raises(UsageError, match="`exclude` first leaves no convolution"):
            use(THREE, state, settings)


def test_the_digest_tells_networks_and_masks_apart() -> None:
    made = masks(0.9)
    assert made.digest() == masks(0.9).digest()
    assert made.digest() != masks(0.8).digest()
    assert made.digest() != replace(made, graph_digest="0" * 64).digest()


def test_applied_masks_zero_what_they_name_and_nothing_else() -> None:
    made = masks(0.8, exclude=("first", "heads"))
    sparse = apply_masks(GRAPH, ARRAYS, made)
    heads = {head.sources[0] for head in SPEC.heads}
    left = {c.index for c in SPEC.convs} - heads - {SPEC.convs[0].index}
    assert made.kept.keys() == {f"layer_{index}.kernel" for index in left}
    for name, dense in ARRAYS.items():
        mask = made.kept.get(name)
        expected = dense if mask is None else torch.where(mask, dense, 0.0)
        assert torch.equal(sparse[name], expected)
    assert kept_share(GRAPH, sparse, made.settings) == pytest.approx(0.2, abs=1e-4)


def test_two_of_every_four_input_channels_stay() -> None:
    made = masks(0.5, pattern=Pattern.TWO_OF_FOUR)
    # The first convolution reads three channels, the second two.
    assert made.kept.keys() == {f"layer_{c.index}.kernel" for c in SPEC.convs[2:]}
    for index, mask in made.kept.items():
        fours = mask.unflatten(1, (-1, 4))
        assert (fours.sum(dim=2) == 2).all()
        values = ARRAYS[index].abs().unflatten(1, (-1, 4))
        least = torch.where(fours, values, torch.inf).amin(dim=2)
        assert (torch.where(fours, 0.0, values).amax(dim=2) <= least).all()
    equal = two_layers(torch.ones(16), torch.ones(48))
    ties = magnitude_masks(TWO_LAYERS, equal, made.settings).kept
    assert ties[SECOND][0].flatten().tolist() == [True, True, False, False] * 2


def test_blocks_of_four_filters_go_together() -> None:
    second = torch.ones(6, 8)
    second[4:, 0] = 0.1  # The last block of six filters has two.
    second[:4, 1] = torch.tensor([0.0, 0.0, 0.0, 3.0])
    state = two_layers(torch.full((16,), 9.0), second)
    settings = MaskSettings(sparsity=0.2, pattern=Pattern.ONE_BY_FOUR)
    made = magnitude_masks(TWO_LAYERS, state, settings)
    # 4 blocks in the first layer, 16 in the second: a fifth is four, the smallest means first.
    assert made.kept[FIRST].all()
    mask = made.kept[SECOND].reshape(6, 8)
    assert not mask[4:, 0].any() and not mask[:4, 1].any()
    assert (~mask).sum() == 2 + 4 + 4 + 4


def test_an_emptied_layer_is_an_error() -> None:
    state = two_layers(torch.full((16,), 0.1), torch.ones(48))
    with pytest.raises(
        PlanError, match=r"layer_0\.conv would lose all its weights .*`scope` layer"
    ):
        magnitude_masks(TWO_LAYERS, state, MaskSettings(sparsity=0.3))
    spared = MaskSettings(sparsity=0.3, exclude=("first",))
    assert magnitude_masks(TWO_LAYERS, state, spared).kept.keys() == {SECOND}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sparsity": 1.0}, r"must be in \[0, 1\)"),
        ({"sparsity": -0.1}, r"must be in \[0, 1\)"),
        ({"sparsity": float("nan")}, r"must be in \[0, 1\)"),
        ({"sparsity": 0.6, "pattern": Pattern.TWO_OF_FOUR}, "exactly half"),
        ({"sparsity": 0.6, "exclude": ("last",)}, "'last' is unknown"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MaskSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", list(Pattern))
def test_every_kind_of_kernel_is_masked_along_its_own_filters(pattern: Pattern) -> None:
    """Kernels lie as (F, C), (C, F) or (F, C, k, k): the same numbers lose the same weights."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(8, 16, generator=generator)
    graph = GraphBuilder(opset=17)
    x = graph.input("x", ("batch", 16))
    image = graph.input("image", ("batch", 16, 2, 2))
    conv = graph.parameter("conv.kernel", (8, 16, 1, 1))
    deconv = graph.parameter("deconv.kernel", (16, 8, 1, 1))
    gemm = graph.parameter("gemm.kernel", (8, 16)), graph.parameter("gemm.bias", (8,))
    linear = graph.parameter("linear.kernel", (16, 8))
    outputs = {
        graph.node("conv", "Conv", image, conv): ("batch", 8, 2, 2),
        graph.node("deconv", "ConvTranspose", image, deconv): ("batch", 8, 2, 2),
        graph.node("gemm", "Gemm", x, *gemm, transB=1): ("batch", 8),
        graph.node("linear", "MatMul", x, linear): ("batch", 8),
    }
    arrays = {
        "conv.kernel": weights[:, :, None, None],
        "deconv.kernel": weights.T[:, :, None, None].contiguous(),
        "gemm.kernel": weights,
        "gemm.bias": torch.ones(8),
        "linear.kernel": weights.T.contiguous(),
    }
    settings = MaskSettings(sparsity=0.5, scope=WeightScope.LAYER, pattern=pattern)
    built = graph.build(outputs)
    kept = magnitude_masks(built, arrays, settings).kept
    assert kept.keys() == arrays.keys() - {"gemm.bias"}
    expected = kept["gemm.kernel"]
    assert expected.sum() == 64
    assert torch.equal(kept["conv.kernel"].flatten(1), expected)
    assert torch.equal(kept["deconv.kernel"].flatten(1).T, expected)
    assert torch.equal(kept["linear.kernel"].T, expected)
    last = replace(settings, exclude=("heads",))
    with pytest.raises(UsageError, match="`exclude` heads leaves no convolution"):
        magnitude_masks(built, arrays, last)
