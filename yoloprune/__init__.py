"""Structural pruning for Darknet YOLO detectors: analyzed, exact, verified.

Reading order: `darknet.spec`, `pruning.channels`, `pruning.groups`, `pruning.plan`,
`pruning.surgery`, `pruning.verification`, `cli.prune`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoloprune.darknet.cost import Cost as Cost
    from yoloprune.darknet.cost import cost as cost
    from yoloprune.darknet.parser import read_cfg as read_cfg
    from yoloprune.darknet.parser import write_cfg as write_cfg
    from yoloprune.darknet.spec import NetworkSpec as NetworkSpec
    from yoloprune.darknet.weights import read_weights as read_weights
    from yoloprune.darknet.weights import write_weights as write_weights
    from yoloprune.errors import YoloPruneError as YoloPruneError
    from yoloprune.model.network import Network as Network
    from yoloprune.pruning.groups import ChannelGroup as ChannelGroup
    from yoloprune.pruning.groups import analyse as analyse
    from yoloprune.pruning.plan import Budget as Budget
    from yoloprune.pruning.plan import Compensation as Compensation
    from yoloprune.pruning.plan import PruningPlan as PruningPlan
    from yoloprune.pruning.pruner import prune as prune
    from yoloprune.pruning.surgery import surgery as surgery

    __version__: str

_HOMES = {
    "Budget": "pruning.plan",
    "ChannelGroup": "pruning.groups",
    "Compensation": "pruning.plan",
    "Cost": "darknet.cost",
    "Network": "model.network",
    "NetworkSpec": "darknet.spec",
    "PruningPlan": "pruning.plan",
    "YoloPruneError": "errors",
    "analyse": "pruning.groups",
    "cost": "darknet.cost",
    "prune": "pruning.pruner",
    "read_cfg": "darknet.parser",
    "read_weights": "darknet.weights",
    "surgery": "pruning.surgery",
    "write_cfg": "darknet.parser",
    "write_weights": "darknet.weights",
}
"""The module of each public name. It is imported when the name is first used: torch takes long."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("yoloprune")
    elif name in _HOMES:
        found = getattr(import_module(f"yoloprune.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
