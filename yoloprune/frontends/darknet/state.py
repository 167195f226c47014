"""The numbers of a network: the parameters of each convolution, by layer index."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

BATCH_NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvParameters:
    """Parameters of one convolution with F filters over C/g channels a group and a k x k window.

    `kernel` is (F, C/g, k, k); the others are (F,). With batch norm, `bias` is its beta, `scale`
    its gamma, `mean` and `variance` its running statistics; without, those three are None.
    """

    kernel: Tensor
    bias: Tensor
    scale: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None

    def items(self) -> list[tuple[str, Tensor]]:
        """(name, tensor) of everything present, in the order of a .weights file."""
        named = (
            ("bias", self.bias),
            ("scale", self.scale),
            ("mean", self.mean),
            ("variance", self.variance),
            ("kernel", self.kernel),
        )
        return [(name, tensor) for name, tensor in named if tensor is not None]


State: TypeAlias = Mapping[int, ConvParameters]
"""Parameters of every convolution, keyed by absolute layer index."""
