"""Layers of hand-built graphs: filters, biases and batch norms where they belong."""

import pytest
import torch
import torch.nn.functional as F

from tests.pruning.networks import every_contraction
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.layers import Layer, as_kernel, by_filter, layers_of

LAYERS = layers_of(analyze(every_contraction()))


def kernel_of(layer: Layer) -> torch.Tensor:
    shape = every_contraction().parameters[layer.kernel].shape
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def test_layers_come_in_order_with_what_belongs_to_them() -> None:
    assert list(LAYERS) == ["conv", "deconv", "gemm", "turned", "product", "last"]
    conv, deconv = LAYERS["conv"], LAYERS["deconv"]
    assert conv.norm is not None and (conv.norm.node, conv.norm.epsilon) == ("norm", 1e-3)
    assert conv.norm.variance == "norm.variance" and conv.bias is None
    assert deconv.bias == "deconv.bias" and deconv.norm is None
    product = LAYERS["product"]
    assert (product.bias, product.output) == ("product.bias", "sum")
    assert (deconv.before, deconv.after) == ((1, 6, 6, 6), (1, 8, 12, 12))


def test_a_batch_norm_beside_other_readers_belongs_to_no_layer() -> None:
    assert layers_of(analyze(every_contraction(tapped=True)))["conv"].norm is None


@pytest.mark.parametrize("name", LAYERS)
def test_filters_are_what_each_output_channel_is_computed_with(name: str) -> None:
    layer = LAYERS[name]
    kernel = kernel_of(layer)
    filters = by_filter(layer, kernel)
    groups = layer.contraction.groups
    assert filters.shape[:2] == (layer.filters, layer.before[1] // groups)
    assert torch.equal(as_kernel(layer, filters), kernel)
    # A single pixel under a single position of the window: the other numbers see zeros.
    x = torch.randn(2, layer.before[1], 1, 1, dtype=torch.float64)
    corner = filters.flatten(2)[..., 0] if filters.dim() > 2 else filters
    expected = F.conv2d(x, corner[:, :, None, None], groups=groups).flatten(1)
    if layer.node.operator == "ConvTranspose":
        found = F.conv_transpose2d(x, kernel, stride=2, groups=groups)[:, :, 0, 0]
    elif layer.node.operator == "Conv":
        found = F.conv2d(x, kernel[:, :, :1, :1], groups=groups).flatten(1)
    else:
        right = kernel.T if layer.node.attributes.get("transB") else kernel
        found = x.flatten(1) @ right
    torch.testing.assert_close(found, expected)
