"""What torch's own layers say of their tensors, and which names say what they count."""

from collections.abc import Mapping

from torch import nn

_VECTORS: Mapping[type[nn.Module], str] = {
    nn.modules.batchnorm._NormBase: "num_features",
    nn.PReLU: "num_parameters",
}
"""Layers with a number a channel, and how they call the count."""

_LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.GroupNorm, *_VECTORS)

COUNTS = frozenset(
    {"in_channels", "out_channels", "in_features", "out_features", "num_features", "num_channels"}
)
"""Names by which torch's layers count channels, and others too."""


def is_torchs(module: nn.Module) -> bool:
    """Whether a module is one of torch's own."""
    return type(module).__module__.startswith("torch.nn.")


def is_layer(module: nn.Module) -> bool:
    """Whether `layer_sizes` knows a module."""
    return isinstance(module, _LAYERS)


def layer_sizes(
    module: nn.Module, shapes: Mapping[str, tuple[int, ...]], groups: int
) -> dict[str, int]:
    """What a layer says of its tensors, where they have these shapes by name; `groups` of kernels.

    Of a layer that is not given those that tell, and of another module, nothing.
    """
    weight = shapes.get("weight", ())
    if isinstance(module, nn.modules.conv._ConvNd):
        if len(weight) < 3:
            return {}
        first, second = weight[:2]
        given, read = (second * groups, first) if module.transposed else (first, second * groups)
        return {"in_channels": read, "out_channels": given, "groups": groups}
    if isinstance(module, nn.Linear):
        return {"in_features": weight[1], "out_features": weight[0]} if len(weight) == 2 else {}
    if isinstance(module, nn.Embedding):
        return {"embedding_dim": weight[1]} if len(weight) == 2 else {}
    if isinstance(module, nn.GroupNorm):
        if len(weight) != 1:
            return {}
        # Whole groups go, or none: a part of one would have another mean.
        each = module.num_channels // module.num_groups
        return {"num_channels": weight[0], "num_groups": weight[0] // each}
    vectors = [own[0] for own in shapes.values() if own]
    for kind, name in _VECTORS.items():
        if isinstance(module, kind) and vectors:
            return {name: vectors[0]}
    return {}
