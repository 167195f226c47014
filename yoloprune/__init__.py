"""Structural pruning for Darknet YOLO detectors: analysed, exact, verified.

Reading order: `darknet.spec`, `pruning.channels`, `pruning.groups`, `pruning.plan`,
`pruning.surgery`, `pruning.verification`, `cli.prune`.
"""

from yoloprune.cost import Cost, cost
from yoloprune.darknet.parser import read_cfg, write_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights, write_weights
from yoloprune.errors import YoloPruneError
from yoloprune.model.network import Network
from yoloprune.pruning.groups import ChannelGroup, analyse
from yoloprune.pruning.plan import Budget, Compensation, PruningPlan
from yoloprune.pruning.pruner import prune
from yoloprune.pruning.surgery import surgery

__all__ = [
    "Budget",
    "ChannelGroup",
    "Compensation",
    "Cost",
    "Network",
    "NetworkSpec",
    "PruningPlan",
    "YoloPruneError",
    "analyse",
    "cost",
    "prune",
    "read_cfg",
    "read_weights",
    "surgery",
    "write_cfg",
    "write_weights",
]
