"""Which channels the code of a module lets go.

A module's code may say sizes that no attribute holds, or halve what it is given. So some channels
of every group are removed, and the module runs. What it does not run without stays, or goes in
pairs where it is read in equal runs. What runs in training alone is in no graph: what it reads
stays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from yoloprune.errors import GraphError, YoloPruneError
from yoloprune.frontends.torch.document import ModuleDocument, unchanged
from yoloprune.frontends.torch.surgery import Surgery, operate
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph, Held, Node
from yoloprune.graph.model import Model
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyze
from yoloprune.pruning.labels.ids import varying
from yoloprune.workflows.bench import bench


def allowed(network: Model, document: ModuleDocument) -> Model:
    """The network whose graph asks for what its module's code counts on.

    Raises `GraphError` where the module is not what its graph computes.
    """
    try:
        trial = _Trial(network, document)
    except GraphError as error:
        raise GraphError(f"{document.title}: {error}") from None
    return trial.allowed()


class _Trial:
    """A module tried with fewer channels."""

    def __init__(self, network: Model, document: ModuleDocument) -> None:
        self.network, self.document = network, document
        self.bench = bench(network, document, document.module)

    def allowed(self) -> Model:
        """The network whose graph asks for what its module's code counts on."""
        self.hold_attention()
        if self.fails(graph := self.graph(), graph.prunable):
            # Most of what does not go does not run: that shows sooner than other numbers do.
            self.settle(self.breaks)
            self.settle(self.fails)
        if (training := in_training(self.document)) is not None:
            self.settle_training(training)
        return self.network

    def hold_attention(self) -> None:
        """Let groups stay that torch's own attention counts: its code takes all sizes from one.

        To find each of them by trying takes a minute where there are many.
        """
        modules = self.document.module.named_modules(remove_duplicate=False)
        known = {path for path, own in modules if isinstance(own, nn.MultiheadAttention)}
        graph, scopes = self.graph(), self.document.scopes
        given = [
            graph.labels.values[name].reshape(-1)
            for node in graph.graph.nodes
            if node.operator == "Reshape" and scopes.get(node.name) in known
            for name in node.outputs
            if name in graph.labels.values
        ]
        counted = np.unique(np.concatenate(given)) if given else ()
        held: list[Held] = []
        for group in graph.prunable:
            if np.isin(group.channels, counted).any():
                held += self.held(graph, group, "")
        self.ask_for(held=held)

    def settle(self, fails: "_Fails") -> None:
        """Ask for what makes nothing fail."""
        graph = self.graph()
        if not fails(graph, graph.prunable):
            return
        self.ask_for(
            parts={
                run.value: (run.axis, run.parts)
                for run in _runs_read(graph)
                if fails(graph, run.groups)
            }
        )
        graph = self.graph()
        if fails(graph, graph.prunable):
            for run in _runs_read(graph):
                self.listen(graph, run, fails)
        while fails(graph := self.graph(), graph.prunable):
            self.hold(graph, fails)

    def settle_training(self, module: nn.Module) -> None:
        """Let groups stay without some of whose channels a copy that trains does not run."""

        def fails(graph: DependencyGraph, groups: Sequence[ChannelGroup]) -> bool:
            return self.stuck(module, graph, groups)

        while fails(graph := self.graph(), graph.prunable):
            failed = culprits(graph, graph.prunable, fails) or graph.prunable
            held: list[Held] = []
            for group in failed:
                entered: list[str] = []
                self.stuck(module, graph, [group], entered)
                path = entered[-1] if entered else ""
                reason = (
                    f"read by {self.document.titled(path)} in training alone: give what that gives "
                    "in evaluation mode, too, and it is thinned"
                )
                held += _held(group, reason)
            self.ask_for(held=held)

    def graph(self) -> DependencyGraph:
        """The groups, with what is asked for so far."""
        return analyze(self.network.graph)

    def listen(self, graph: DependencyGraph, run: "_Run", fails: "_Fails") -> None:
        """Note of a node whether the sizes that a module keeps are those that it is told."""
        if fails(graph, run.groups):
            before = self.document
            self.document = replace(before, unheard=before.unheard | {run.node})
            if fails(graph, run.groups):
                self.document = before
            self.network = replace(self.network, document=self.document)

    def hold(self, graph: DependencyGraph, fails: "_Fails") -> None:
        """Let groups stay of which the module cannot do without some channels."""
        told = [group for group in graph.prunable if self.told(graph, group)]
        others = [group for group in graph.prunable if group not in told]
        # Who is told nothing new mostly goes well: the others are tried first.
        failed = culprits(graph, told, fails) or culprits(graph, others, fails) or graph.prunable
        also = suspected(self.document)
        self.ask_for(held=[own for group in failed for own in self.held(graph, group, also)])

    def ask_for(
        self, parts: Mapping[str, tuple[int, int]] = MappingProxyType({}), held: Sequence[Held] = ()
    ) -> None:
        """Go on with a graph that asks for more."""
        before = self.network.graph
        graph = replace(before, parts={**before.parts, **parts}, held=(*before.held, *held))
        self.document = replace(self.document, graph=graph)
        self.network = replace(self.network, graph=graph, document=self.document)

    def breaks(self, graph: DependencyGraph, groups: Sequence[ChannelGroup]) -> bool:
        """Whether the module does not run without some of the channels."""
        return self.stuck(self.document.module, graph, groups)

    def stuck(
        self,
        module: nn.Module,
        graph: DependencyGraph,
        groups: Sequence[ChannelGroup],
        entered: list[str] | None = None,
    ) -> bool:
        """Whether a module does not run without some channels; `entered` is then where it was."""
        with unchanged(module), torch.no_grad(), torch.random.fork_rng([]):
            try:
                *_, surgery = self.without_some(graph, groups)
                operate(module, surgery)
                if entered is not None:
                    _follow(module, entered)
                module(*self.document.inputs)
            except Exception:
                # A module's code raises anything where sizes do not fit.
                return True
        return False

    def fails(self, graph: DependencyGraph, groups: Sequence[ChannelGroup]) -> bool:
        """Whether the module does not compute what its graph does without some of the channels."""
        with unchanged(self.bench.module) as module:
            try:
                slim, parameters, surgery = self.without_some(graph, groups)
                operate(module, surgery)
                return self.bench.difference(module, slim, parameters) is not None
            except YoloPruneError:
                # What cannot be cut in the graph is not cut: the rest of the module can be.
                return True

    def without_some(
        self, graph: DependencyGraph, groups: Sequence[ChannelGroup]
    ) -> tuple[Graph, Mapping[str, Tensor], Surgery]:
        """The slim graph, its parameters, and what is done to the module."""
        edits = removal(graph, _without_some(graph, groups))
        slim, parameters = edit(self.network.graph, self.network.parameters, edits)
        return slim, parameters, self.document.surgery(edits, slim)

    def told(self, graph: DependencyGraph, group: ChannelGroup) -> list[str]:
        """Nodes that are told other numbers, or become others, without some channels of a group."""
        edits = removal(graph, _without_some(graph, [group]))
        nodes = {node for node, _ in edits.constants} | edits.attributes.keys() | edits.nodes.keys()
        return sorted(nodes)

    def held(self, graph: DependencyGraph, group: ChannelGroup, also: str) -> Iterator[Held]:
        """What keeps a group whole, and why; `also` is whose code that may be, too."""
        places = {self.document.scopes.get(node, "") for node in self.told(graph, group)}
        where = " or ".join(self.document.titled(own) for own in sorted(places or {""}))
        return _held(group, f"how many is in the code of {where}{also}")


def _follow(module: nn.Module, entered: list[str]) -> None:
    """Keep the paths of the modules that run, the innermost at the end."""

    def leave(*_: object) -> None:
        entered.pop()

    for path, own in module.named_modules():
        own.register_forward_pre_hook(lambda *_, path=path: entered.append(path))
        own.register_forward_hook(leave)


def _held(group: ChannelGroup, reason: str) -> Iterator[Held]:
    for member in group.producers:
        yield Held(node=member.node, filters=tuple(member.positions), reason=reason)


def in_training(document: ModuleDocument) -> nn.Module | None:
    """A copy of the module as it trains; None where it does not run so, without labels perhaps."""
    module = deepcopy(document.module)
    for own in module.modules():
        # Statistics of a batch of one are none.
        own.training = not isinstance(own, nn.modules.batchnorm._NormBase)
    with unchanged(module), torch.no_grad(), torch.random.fork_rng([]):
        try:
            module(*document.inputs)
        except Exception:
            return None
    return module


_Fails: TypeAlias = Callable[[DependencyGraph, Sequence[ChannelGroup]], bool]
"""Whether a module does not go without some channels of each of these groups."""


def culprits(
    graph: DependencyGraph, groups: Sequence[ChannelGroup], fails: _Fails
) -> Sequence[ChannelGroup]:
    """The fewest of these groups without some of whose channels a module does not go."""
    if not groups or not fails(graph, groups):
        return ()
    half = len(groups) // 2
    parts = (groups[:half], groups[half:]) if half else ()
    # Where either part goes well alone, together they do not.
    return [own for part in parts for own in culprits(graph, part, fails)] or groups


def suspected(document: ModuleDocument) -> str:
    """Whose code may count on channels though no node says so, in words; "" where none is."""
    for path, own in document.module.named_modules():
        if is_parametrized(own):
            name = next(iter(own.parametrizations))
            return (
                f" or of {document.titled(path)}, which is parametrized: take that away before, by "
                "torch.nn.utils.parametrize.remove_parametrizations("
                f"net.get_submodule('{path}'), '{name}')"
            )
    if (found := unheard_of(document)) is None:
        return ""
    return (
        f" or of {document.titled(found)}, which runs and "
        "gives nothing that counts: `outputs` may choose what it gives, too"
    )


def unheard_of(document: ModuleDocument) -> str | None:
    """The first module with parameters that runs while none of them is in the graph, if any."""
    known = {
        own.tensor.rpartition(".")[0]
        for name, own in document.origins.items()
        if name in document.graph.parameters or name in document.graph.constants
    }
    others = {
        path: own
        for path, own in document.module.named_modules()
        if path not in known and next(own.parameters(recurse=False), None) is not None
    }
    called: list[str] = []
    with unchanged(document.module) as module, torch.no_grad():
        for path, own in others.items():
            own.register_forward_pre_hook(lambda *_, path=path: called.append(path))
        module(*document.inputs)
    return next(iter(called), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A node that reads a value in equal runs along an axis, and the groups that hold channels."""

    node: str
    value: str
    axis: int
    parts: int
    groups: list[ChannelGroup]


def _runs_read(graph: DependencyGraph) -> list[_Run]:
    labels, found = graph.labels, []
    for node in graph.graph.nodes:
        ids = labels.values.get(node.inputs[0]) if node.inputs else None
        if ids is None or node.operator not in ("Reshape", "Split"):
            continue
        groups = [group for group in graph.prunable if np.isin(group.channels, ids).any()]
        shapes = [labels.facts.shapes[name] for name in (node.inputs[0], *node.outputs)]
        for axis in varying(ids) if groups else ():
            if parts := _runs(node, shapes, axis):
                run = _Run(
                    node=node.name, value=node.inputs[0], axis=axis, parts=parts, groups=groups
                )
                found.append(run)
    return found


def _runs(node: Node, shapes: Sequence[Sequence[int]], axis: int) -> int | None:
    """Into how many equal runs a node takes what it reads apart along an axis; None for no such."""
    before, *after = shapes
    if node.operator == "Split" and len(set(map(tuple, after))) == 1:
        return len(after) if before[axis] == len(after) * after[0][axis] else None
    if node.operator == "Reshape" and len(after[0]) > axis + 1:
        parts = after[0][axis]
        whole = tuple(after[0][:axis]) == tuple(before[:axis])
        if whole and 1 < parts < before[axis] == parts * after[0][axis + 1]:
            return parts
    return None


def _without_some(graph: DependencyGraph, groups: Sequence[ChannelGroup]) -> NDArray[np.bool_]:
    """A mask over channels: some of each group are gone, another number of each next one."""
    generator = np.random.default_rng(0)
    keep = {}
    for number, group in enumerate(groups):
        size = group.part_size
        # Whoever halves what it reads gives the first half the odd one: that one keeps fewer here.
        gone = min(1 + (2 - number % 3) * max(1, size // 4), size - 1)
        runs = [
            part * size + np.sort(generator.permutation(size)[gone:])
            for part in range(group.equal_parts)
        ]
        keep[group.id] = tuple(np.concatenate(runs).tolist())
    return graph.kept(keep)
