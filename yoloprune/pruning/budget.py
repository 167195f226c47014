"""What a slim network may cost."""

from dataclasses import dataclass

from yoloprune.errors import PlanError
from yoloprune.pruning.measures import MEASURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the slim network may cost; every limit that is given holds.

    Raises `PlanError` for a number out of its range, and for a measure that is not known.
    """

    limits: dict[str, float]
    """The largest fraction to keep of each measure, by its name in `MEASURES`, in (0, 1]."""

    min_channels: int = 1
    """Fewest channels that a group keeps (or all it has, if it has fewer)."""

    multiple_of: int = 1
    """Channel counts of pruned layers are rounded up to multiples of this.

    A layer that it would leave uneven is not pruned.
    """

    max_layer_cut: float = 1.0
    """Largest fraction of its channels that a group may lose, in [0, 1]."""

    def __post_init__(self) -> None:
        for name, value in self.limits.items():
            if name not in MEASURES:
                known = ", ".join(MEASURES)
                raise PlanError(f"a budget cannot limit {name!r} (it can limit {known})")
            if not 0 < value <= 1:
                raise PlanError(f"{name}={value} must be in (0, 1]: it is the fraction to keep")
        if self.min_channels < 1 or self.multiple_of < 1:
            raise PlanError("min_channels and multiple_of must be at least 1")
        if not 0 <= self.max_layer_cut <= 1:
            raise PlanError(f"max_layer_cut={self.max_layer_cut} must be in [0, 1]")
