"""Weights to start from: random ones for any network, or those of a relative."""

import torch

from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import parameter_shapes

RARE_OBJECT = -4.6
"""Logit of a probability of 0.01."""


def random_state(spec: NetworkSpec, *, seed: int = 0) -> dict[int, ConvParameters]:
    """Seeded random parameters, float32, under which activations neither vanish nor explode.

    Kernels are normal with variance 1/fan-in; batch norms get scattered scales, offsets and running
    statistics, as a trained network has them.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...], deviation: float) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * deviation

    def uniform(shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    state = {}
    for index, shapes in parameter_shapes(spec).items():
        kernel = shapes["kernel"]
        fan_in = kernel[1] * kernel[2] * kernel[3]
        tensors = {"bias": normal(shapes["bias"], 0.1), "kernel": normal(kernel, fan_in**-0.5)}
        if "scale" in shapes:
            tensors["scale"] = uniform(shapes["scale"], 0.5, 1.5)
            tensors["mean"] = normal(shapes["mean"], 0.1)
            tensors["variance"] = uniform(shapes["variance"], 0.5, 1.5)
        state[index] = ConvParameters(**tensors)
    return state


def training_state(spec: NetworkSpec, *, seed: int = 0) -> dict[int, ConvParameters]:
    """Parameters to start training from, float32.

    Kernels are normal with variance 2 / fan-in (K. He et al., "Delving Deep into Rectifiers",
    2015); batch norms are the identity. Before a head, the objectness bias says that one prediction
    in a hundred is an object, or the many empty cells would drown the first steps.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for index, shapes in parameter_shapes(spec).items():
        kernel = shapes["kernel"]
        fan_in = kernel[1] * kernel[2] * kernel[3]
        tensors = {
            "kernel": torch.randn(kernel, generator=generator) * (2 / fan_in) ** 0.5,
            "bias": torch.zeros(shapes["bias"]),
        }
        if "scale" in shapes:
            tensors["scale"] = torch.ones(shapes["scale"])
            tensors["mean"] = torch.zeros(shapes["mean"])
            tensors["variance"] = torch.ones(shapes["variance"])
        state[index] = ConvParameters(**tensors)
    for head in spec.heads:
        if (parameters := state.get(head.sources[0])) is None:
            continue
        entries = parameters.bias.reshape(len(head.anchors), -1)
        entries[:, head.box_entries - 1] = RARE_OBJECT
        parameters.kernel.mul_(0.1)
    return state


def transferred_state(
    spec: NetworkSpec, source: NetworkSpec, weights: State, *, seed: int = 0
) -> tuple[dict[int, ConvParameters], int]:
    """Parameters to start from with another network's where the two agree, and how many layers.

    The networks must have the same layers in the same order; convolutions whose parameters have
    other shapes, as those before heads of other classes do, start as in `training_state`. Raises
    `WeightsError` if the layers differ, or none can be taken over.
    """
    if [type(layer) for layer in spec.layers] != [type(layer) for layer in source.layers]:
        raise WeightsError(
            f"the networks differ in their layers ({len(source.layers)} against "
            f"{len(spec.layers)}): only weights of the same architecture can be taken over"
        )
    state = training_state(spec, seed=seed)
    shapes = parameter_shapes(spec)
    taken = [index for index, own in parameter_shapes(source).items() if own == shapes[index]]
    if not taken:
        raise WeightsError("no layer of the networks has the same shape in both")
    return state | {index: weights[index] for index in taken}, len(taken)
