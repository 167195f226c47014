"""What a user can choose between; torch is not loaded for that."""

from enum import StrEnum


class Scope(StrEnum):
    """How channels of different groups compete."""

    GLOBAL = "global"
    """By score, normalized within each group."""
    LAYER = "layer"
    """By rank within their group: every group loses the same share."""


class WeightScope(StrEnum):
    """How single weights of different kernels compete."""

    TIME = "time"
    """By magnitude, and by how often each is multiplied: zeros where they save most."""
    GLOBAL = "global"
    """By magnitude."""
    LAYER = "layer"
    """By rank within their kernel: every kernel loses the same share."""


class Compensation(StrEnum):
    """What happens to the constants of removed channels (see `compensation.py`)."""

    NONE = "none"
    FOLD = "fold"
    CARRIER = "carrier"
