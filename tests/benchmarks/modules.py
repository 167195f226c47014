"""Torch modules, pruned as they are: what goes, how exact it is, what it takes, side by side.

A name is one of the definitions of the tests, or one of Ultralytics' (yolov8n, yolo11n, rtdetr-l),
where that package (AGPL-3.0, not needed otherwise) is installed. Weights are random. Each module is
cut to a share of its MACs and then run in eager mode, by torch.compile and through torch.export;
`--torch-pruning` cuts a copy by Torch-Pruning to the same share; `--file` cuts the module's ONNX
file, too. Seconds are those of one core.
Usage: python -m tests.benchmarks.modules [--torch-pruning] [--file] [--side 640] NAME ...
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tests.classifiers import CLASSIFIERS, randomized
from tests.modules import Detector, resnet50
from yoloprune.execution.module import Network
from yoloprune.frontends.torch.document import in_dtype
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import masked
from yoloprune.report.table import amount, markdown_table
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.models import load
from yoloprune.workflows.modules import load_module, module_of
from yoloprune.workflows.prune import prune

OWN: dict[str, Callable[[int], nn.Module]] = {
    **{name: lambda side, own=own: randomized(own.make()) for name, own in CLASSIFIERS.items()},
    "resnet-50": lambda side: randomized(resnet50()),
    "ssd-like": lambda side: Detector(classes=21, width=64, side=side).eval(),
}
HEADER = (
    *("Module", "Kernels thinned", "Frozen by its code", "MACs", "Params", "slim = masked"),
    *("eager, compiled, exported", "CPU s to load", "CPU s to prune"),
)  # fmt: skip


def ultralytics(name: str) -> nn.Module:
    """One of Ultralytics' definitions, giving what it gives when it is exported."""
    from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

    kind = RTDETRDetectionModel if name.startswith("rtdetr") else DetectionModel
    torch.manual_seed(0)
    module = kind(f"{name}.yaml", ch=3, verbose=False)
    for own in module.modules():
        if isinstance(own, nn.BatchNorm2d):
            own.running_mean.normal_(0, 0.1)
            own.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(own.weight, 0.5, 1.5)
            nn.init.normal_(own.bias, 0, 0.1)
    module.model[-1].export, module.model[-1].format = True, "onnx"
    return module.eval()


def outputs(module: nn.Module, image: Tensor) -> list[Tensor]:
    """What a module gives for an image, in order, in a fresh copy."""
    with torch.no_grad():
        found = copy.deepcopy(module)(image)
    return [own for own in pytree.tree_leaves(found) if isinstance(own, Tensor)]


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest difference, relative to each output's largest value."""
    pairs = zip(found, wanted, strict=True)
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs)


def runs(module: nn.Module, image: Tensor) -> str:
    """In which ways a module runs and gives the same."""
    wanted = outputs(module, image)
    ways = {
        "eager": lambda: module,
        "compiled": lambda: torch.compile(copy.deepcopy(module), backend="aot_eager"),
        "exported": lambda: torch.export.export(copy.deepcopy(module), (image,)).module(),
    }
    found = []
    for name, make in ways.items():
        with torch.no_grad():
            given = [own for own in pytree.tree_leaves(make()(image)) if isinstance(own, Tensor)]
        found.append(name if error(given, wanted) <= 1e-4 else f"{name} differs")
    return ", ".join(found)


def masked_outputs(network: Model, cut: Cut, image: Tensor) -> list[Tensor]:
    """What the masked module gives: the dense one with columns of zeros, in the image's dtype.

    Where products are masked too, which no module's tensors say, the masked graph's: torch exports
    numbers that stand in the code in float32, so that it may be off by as much.
    """
    graph, parameters = masked(analyze(network.graph), network.parameters, cut.plan)
    same = parameters.keys() == network.parameters.keys()
    if same and len(graph.nodes) == len(network.graph.nodes):
        return outputs(in_dtype(module_of(network).holding(parameters), image.dtype), image)
    with torch.no_grad():
        return list(Network(graph, parameters, dtype=image.dtype)(image))


def row(name: str, side: int, keep: float) -> tuple[object, ...]:
    """One module, pruned."""
    module = OWN[name](side) if name in OWN else ultralytics(name)
    image = torch.rand(1, 3, side, side)
    start = time.process_time()
    network = load_module(module, image)
    loaded = time.process_time()
    cut = prune(network, {"macs": keep}, multiple_of=1)
    slim = cut.apply(copy.deepcopy(module))
    pruned = time.process_time()
    dependencies = analyze(network.graph)
    found = outputs(copy.deepcopy(slim).double(), image.double())
    exact = error(found, masked_outputs(network, cut, image.double()))
    kernels = [n for n in network.graph.nodes if n.operator in ("Conv", "ConvTranspose", "Gemm")]
    free = {own.node for g in dependencies.prunable for own in (*g.producers, *g.consumers)}
    held = {own.node for own in network.graph.held}
    before, after = network.cost, cut.slim.cost
    return (
        *(name, f"{sum(n.name in free for n in kernels)} of {len(kernels)}", str(len(held))),
        f"{amount(before.macs)} to {amount(after.macs)}",
        f"{amount(before.params)} to {amount(after.params)}",
        *(f"{exact:.1e}", runs(slim, image)),
        *(f"{loaded - start:.1f}", f"{pruned - loaded:.1f}"),
    )


def torch_pruning(name: str, side: int, keep: float) -> str:
    """The same by Torch-Pruning: groups, MACs and seconds of one core, or what it ends with."""
    import torch_pruning as tp

    module = OWN[name](side) if name in OWN else ultralytics(name)
    image = torch.rand(1, 3, side, side)
    dense, _ = tp.utils.count_ops_and_params(module, image)
    start = time.process_time()
    try:
        heads = [own for own in module.modules() if isinstance(own, nn.Linear)][-1:]
        if name not in OWN:
            heads = [module.model[-1]]
        # A width's share squared is about the MACs' share.
        pruner = tp.pruner.MagnitudePruner(
            module, image, importance=tp.importance.MagnitudeImportance(p=2),
            pruning_ratio=1 - keep**0.5, ignored_layers=heads,
        )  # fmt: skip
        groups = sum(1 for _ in pruner.DG.get_all_groups(ignored_layers=heads))
        pruner.step()
        outputs(module, image)
    except Exception as failed:
        return f"{name}: Torch-Pruning {tp.__version__}: {type(failed).__name__}: {failed}"[:200]
    seconds = time.process_time() - start
    macs, params = tp.utils.count_ops_and_params(module, image)
    return (
        f"{name}: Torch-Pruning {tp.__version__}: {groups} groups, {amount(int(dense))} to "
        f"{amount(int(macs))} MACs, {amount(int(params))} params, {seconds:.1f} CPU s"
    )


def through_file(name: str, side: int, keep: float) -> str:
    """Whether the module's ONNX file has its groups and plan, and how far slim outputs differ.

    The file may lose what the module's own code counts on, as halves of unequal width: the same is
    asked of it.
    """
    module = OWN[name](side) if name in OWN else ultralytics(name)
    image = torch.rand(1, 3, side, side)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        torch.onnx.export(
            copy.deepcopy(module), (image,), path, dynamo=True, optimize=False, verbose=False
        )
        of_file = load(path)
    held = load_module(module, image)
    own = held.graph
    asked = replace(of_file.graph, parts=own.parts, held=own.held, alike=own.alike)
    of_file = replace(of_file, graph=asked, document=replace(of_file.document, graph=asked))
    networks = (held, of_file)
    groups = [
        {own.producers: own.frozen_because for own in analyze(model.graph).groups}
        for model in networks
    ]
    cuts = [prune(model, {"macs": keep}, multiple_of=1) for model in networks]
    slim = outputs(cuts[0].apply(copy.deepcopy(module)).double(), image.double())
    other = cuts[1].slim
    with torch.no_grad():
        wanted = list(Network(other.graph, other.parameters, dtype=torch.float64)(image.double()))
    same = cuts[0].plan.keep == cuts[1].plan.keep
    alike = "alike" if groups[0] == groups[1] else "differ"
    return (
        f"{name}: through its file (asked for {len(own.parts)} values in equal parts, "
        f"{len({entry.node for entry in own.held})} convolutions to stay) groups {alike}, plan "
        f"{'alike' if same else 'differs'}, slim outputs within {error(slim, wanted):.1e}"
    )


def main() -> None:
    """Print a row a module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*OWN])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--keep", type=float, default=0.6)
    parser.add_argument("--torch-pruning", action="store_true")
    parser.add_argument("--file", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in options.names:
        found = row(name, options.side, options.keep)
        print(markdown_table(HEADER, [found]), flush=True)
        if options.file:
            print(through_file(name, options.side, options.keep), flush=True)
        if options.torch_pruning:
            print(torch_pruning(name, options.side, options.keep), flush=True)


if __name__ == "__main__":
    main()
