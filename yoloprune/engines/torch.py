"""torch, eager: on the CPU or on a GPU, batch norms folded into the convolutions."""

from collections.abc import Callable

import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.execution.module import Network
from yoloprune.graph.model import Model


def load(model: Model, setup: Setup) -> Runner:
    """A copy of a model in torch."""
    network = Network(model.graph, model.parameters, dtype=setup.dtype, device=setup.device)
    return runner(network)


def runner(network: Network) -> Runner:
    """What a network computes in evaluation mode, where and in what it is."""
    folded = network.for_inference()
    like = next(folded.parameters())
    place = "" if like.device.type == "cpu" else f", {like.device.type.upper()}"
    return Runner(
        title=f"torch eager{place}",
        outputs=tuple(network.graph.outputs),
        compute=_computed(folded, like),
        device=like.device,
        concurrent=True,
    )


def _computed(network: Network, like: Tensor) -> Callable[[Tensor], tuple[Tensor, ...]]:
    @torch.inference_mode()
    def compute(images: Tensor) -> tuple[Tensor, ...]:
        outputs = network(images.to(like))
        return tuple(o.float() if o.dtype.itemsize == 2 else o for o in outputs)

    return compute


TORCH = Engine(
    name="torch",
    title="torch",
    load=load,
    modules=("torch",),
    install="pip install torch",
    devices=("cpu", "cuda"),
    dtypes=(torch.float32, torch.bfloat16, torch.float64),
    compared=True,
)
