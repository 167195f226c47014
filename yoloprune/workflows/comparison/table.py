"""The table of tools."""

from collections.abc import Mapping

from yoloprune.workflows.comparison.onnxsim import ONNXSIM
from yoloprune.workflows.comparison.own import (
    L2,
    OURS,
    RANDOM,
    RECALIBRATED,
    UNIFORM,
    WANDA,
)
from yoloprune.workflows.comparison.tool import Tool
from yoloprune.workflows.comparison.torch_pruning import TORCH_PRUNING

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (OURS, L2, UNIFORM, WANDA, RECALIBRATED, RANDOM, ONNXSIM, TORCH_PRUNING)
}
