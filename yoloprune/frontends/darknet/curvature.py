"""What an error in the raw map of a Darknet head does to the probabilities that it means."""

from collections.abc import Callable

from torch import Tensor

from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import NetworkSpec, Yolo


def curvatures(spec: NetworkSpec) -> dict[str, Callable[[Tensor], Tensor]]:
    """For each [yolo] head, by the name of its map: what a squared error in each value counts.

    To second order, half of that is the divergence of the probabilities of objects and classes; a
    box counts as far as there is an object.
    """
    return {raw_map(head): _of(head) for head in spec.heads if isinstance(head, Yolo)}


def _of(head: Yolo) -> Callable[[Tensor], Tensor]:
    def weights(values: Tensor) -> Tensor:  # (B, A (5 + C), h, w)
        entries = values.reshape(len(values), len(head.anchors), -1, *values.shape[2:])
        probabilities = entries if head.new_coords else entries.sigmoid()
        curvature = (probabilities * (1 - probabilities)).clamp(min=1e-6)
        if head.new_coords:
            # Not of the logit but of the probability itself.
            curvature = 1 / curvature
        objectness = probabilities[:, :, 4:5]
        weight = objectness * curvature
        weight[:, :, 4] = curvature[:, :, 4]
        # The box of a cell matters as far as there is an object.
        weight[:, :, :4] = objectness
        return weight.reshape(values.shape)

    return weights
