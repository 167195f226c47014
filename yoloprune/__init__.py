"""Structural pruning of detectors, from Darknet pairs or ONNX files: analyzed, exact, verified.

    dense = yoloprune.load("yolo.cfg")
    cut = yoloprune.prune(dense, {"macs": 0.6})
    cut = yoloprune.recover(cut, "photos/")
    cut.save("slim/")

Reading order: `graph.graph`, `pruning.labels`, `pruning.groups`, `pruning.plan`, `pruning.cut`,
`pruning.prove`, `pruning.prune`, `workflows.prune`, `cli.prune`.
"""

from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoloprune.errors import YoloPruneError as YoloPruneError
    from yoloprune.graph.graph import Graph as Graph
    from yoloprune.graph.model import Model as Model
    from yoloprune.reporter import Reporter as Reporter
    from yoloprune.workflows.benchmark import benchmark as benchmark
    from yoloprune.workflows.case_study.study import case_study as case_study
    from yoloprune.workflows.compare import compare as compare
    from yoloprune.workflows.cut import Cut as Cut
    from yoloprune.workflows.data_sets import check_data as check_data
    from yoloprune.workflows.data_sets import fit_anchors as fit_anchors
    from yoloprune.workflows.data_sets import split_data as split_data
    from yoloprune.workflows.detect import detect as detect
    from yoloprune.workflows.distill import distill as distill
    from yoloprune.workflows.evaluate import evaluate as evaluate
    from yoloprune.workflows.export import export as export
    from yoloprune.workflows.inspect import inspect as inspect
    from yoloprune.workflows.iterate import iterate as iterate
    from yoloprune.workflows.iterate_module import iterate_module as iterate_module
    from yoloprune.workflows.iterate_on_images import iterate_on_images as iterate_on_images
    from yoloprune.workflows.match import match as match
    from yoloprune.workflows.models import load as load
    from yoloprune.workflows.models import save as save
    from yoloprune.workflows.modules import load_module as load_module
    from yoloprune.workflows.modules import load_slim as load_slim
    from yoloprune.workflows.prune import prune as prune
    from yoloprune.workflows.prune_depth import prune_with_depth as prune_with_depth
    from yoloprune.workflows.pruned_folder import read_cut as read_cut
    from yoloprune.workflows.quantize import quantize as quantize
    from yoloprune.workflows.recover import recover as recover
    from yoloprune.workflows.report import write_page as write_page
    from yoloprune.workflows.sparsify import sparsify as sparsify
    from yoloprune.workflows.sweep import sweep as sweep
    from yoloprune.workflows.train import finetune as finetune
    from yoloprune.workflows.train import initial_model as initial_model
    from yoloprune.workflows.train import train as train
    from yoloprune.workflows.training_data import TrainingSource as TrainingSource
    from yoloprune.workflows.verify import verify as verify

    __version__: str

_HOMES = {
    "Cut": "workflows.cut",
    "Graph": "graph.graph",
    "Model": "graph.model",
    "Reporter": "reporter",
    "TrainingSource": "workflows.training_data",
    "YoloPruneError": "errors",
    "benchmark": "workflows.benchmark",
    "case_study": "workflows.case_study.study",
    "check_data": "workflows.data_sets",
    "compare": "workflows.compare",
    "detect": "workflows.detect",
    "distill": "workflows.distill",
    "evaluate": "workflows.evaluate",
    "export": "workflows.export",
    "finetune": "workflows.train",
    "fit_anchors": "workflows.data_sets",
    "initial_model": "workflows.train",
    "inspect": "workflows.inspect",
    "iterate": "workflows.iterate",
    "iterate_module": "workflows.iterate_module",
    "iterate_on_images": "workflows.iterate_on_images",
    "load": "workflows.models",
    "load_module": "workflows.modules",
    "load_slim": "workflows.modules",
    "match": "workflows.match",
    "prune": "workflows.prune",
    "prune_with_depth": "workflows.prune_depth",
    "quantize": "workflows.quantize",
    "read_cut": "workflows.pruned_folder",
    "recover": "workflows.recover",
    "save": "workflows.models",
    "sparsify": "workflows.sparsify",
    "split_data": "workflows.data_sets",
    "sweep": "workflows.sweep",
    "train": "workflows.train",
    "verify": "workflows.verify",
    "write_page": "workflows.report",
}
"""The module of each public name. It is imported when the name is first used: torch takes long."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("yoloprune")
    elif name in _HOMES:
        found = getattr(import_module(f"yoloprune.{_HOMES[name]}"), name)
        if isinstance(found, FunctionType):
            # Here, as the library does not hold its own calls against their annotations.
            from yoloprune.arguments import checked

            found = checked(found)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
