"""torch, eager: on the CPU or on a GPU, batch norms folded into the convolutions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.frontends.darknet.document import pair
from yoloprune.graph.model import Model
from yoloprune.model.network import Network


def load(model: Model, setup: Setup) -> Runner:
    """A copy of a model in torch."""
    network = Network.from_state(*pair(model))
    return runner(network.to(setup.device, setup.dtype), tuple(model.graph.outputs))


def runner(network: Network, outputs: Sequence[str]) -> Runner:
    """What a network computes in evaluation mode, by these names, where and in what it is."""
    folded = network.for_inference()
    like = next(folded.parameters())
    place = "" if like.device.type == "cpu" else f", {like.device.type.upper()}"
    return Runner(
        title=f"torch eager{place}",
        outputs=tuple(outputs),
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
