"""Which channels the code of a module lets go.

A module's code may say sizes that no attribute holds, or halve what it is given. So some channels
of every group are removed, and the module runs. What it does not run without stays, or goes in
pairs where it is read in equal runs. What runs in training alone is in no graph: what it reads
stays.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from yoloprune.errors import GraphError, YoloPruneError
from yoloprune.frontends.torch.document import ModuleDocument, unchanged
from yoloprune.frontends.torch.export import copied
from yoloprune.frontends.torch.layers import COUNTS
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.sizes import guessed
from yoloprune.frontends.torch.surgery import Place, Surgery, places_in
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph, Held, Node
from yoloprune.graph.model import Model
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyze
from yoloprune.pruning.labels.ids import varying
from yoloprune.workflows.bench import bench
from yoloprune.workflows.beside import in_training, suspected
from yoloprune.workflows.fewest import culprits, needed


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
        self.each_another = False

    def allowed(self) -> Model:
        """The network whose graph asks for what its module's code counts on."""
        self.hold_attention()
        # What halves by chance goes well with what the second gives, and two groups that one
        # attribute counts with what the first does.
        for self.each_another in (False, True):
            if self.fails(graph := self.graph(), graph.prunable):
                # Most of what does not go does not run: that shows sooner than other numbers do.
                self.settle(self.breaks)
                self.settle(self.fails)
        counted, likely = self.sizes()
        if (training := in_training(self.document)) is not None:
            # What is sliced there by a size that nothing else counts on may be another's.
            self.set_alone(counted)
            self.settle_training(training)
        self.set_alone([*counted, *likely])
        return self.network

    def sizes(self) -> tuple[Sequence[Place], Sequence[Place]]:
        """Attributes that the module needs to be set, and others that are to be.

        Those its calls are told, or have a name that says so, and it does not read when it runs:
        another of its functions may, as C2f's `forward_split`. What it reads, and does not need to
        be set, only happens to be the same number.
        """
        graph = self.graph()
        edits = removal(graph, self.some_gone(graph, graph.prunable))
        slim, parameters = edit(self.network.graph, self.network.parameters, edits)
        surgery = self.document.surgery(edits, slim)
        told = places_in(self.document.surgery(edits, slim, told_alone=True).sizes)
        guesses = guessed(self.document.module)
        places = sorted(place for place in places_in(surgery.sizes) if place in guesses)

        def goes(left: Sequence[Place]) -> bool:
            tried = surgery.without({*places} - {*left})
            return not (
                self.stopped(self.document.module, tried) or self.differs(slim, parameters, tried)
            )

        def runs(left: Sequence[Place]) -> bool:
            with unchanged(self.document.module) as module:
                for path, name in {*spare} - {*left}:
                    delattr(module.get_submodule(path), name)
                return not self.stopped(module, Surgery())

        found = needed(places, goes)
        likely = [own for own in places if own in told or own[1] in COUNTS]
        spare = [own for own in likely if own not in found]
        read = needed(spare, runs)
        return found, [own for own in spare if own not in read]

    def set_alone(self, places: Sequence[Place]) -> None:
        """Go on with a document that sets none but these attributes that only look like sizes."""
        stay = guessed(self.document.module) - {*places}
        self.document = replace(self.document, stay=stay)
        self.network = replace(self.network, document=self.document)

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
            failed = culprits(graph.prunable, partial(fails, graph)) or graph.prunable
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
        """Note of nodes whether the sizes that a module keeps are those that they are told."""
        if fails(graph, run.groups):
            before = self.document
            self.document = replace(before, unheard=before.unheard | {*run.nodes})
            if fails(graph, run.groups):
                self.document = before
            self.network = replace(self.network, document=self.document)

    def spare(
        self, graph: DependencyGraph, groups: Sequence[ChannelGroup], fails: "_Fails"
    ) -> bool:
        """Let an attribute stay with which alone nothing fails any more, if there is one."""
        before, guesses = self.document, guessed(self.document.module)
        try:
            *_, surgery = self.without_some(graph, groups)
        except YoloPruneError:
            return False
        for place in places_in(surgery.sizes):
            if place in guesses:
                self.document = replace(before, stay=before.stay | {place})
                if not fails(graph, groups):
                    self.network = replace(self.network, document=self.document)
                    return True
        self.document = before
        return False

    def hold(self, graph: DependencyGraph, fails: "_Fails") -> None:
        """Let groups stay of which the module cannot do without some channels."""
        told = [group for group in graph.prunable if self.told(graph, group)]
        others = [group for group in graph.prunable if group not in told]
        # Who is told nothing new mostly goes well: the others are tried first.
        fail = partial(fails, graph)
        failed = culprits(told, fail) or culprits(others, fail) or graph.prunable
        if self.spare(graph, failed, fails):
            return
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
        try:
            *_, surgery = self.without_some(graph, groups)
        except YoloPruneError:
            return True
        return self.stopped(module, surgery, entered)

    def stopped(
        self, module: nn.Module, surgery: Surgery, entered: list[str] | None = None
    ) -> bool:
        """Whether a module does not run after surgery; `entered` is then where it was."""
        with unchanged(module), torch.no_grad(), torch.random.fork_rng([]):
            try:
                operate(module, surgery)
                if entered is not None:
                    _follow(module, entered)
                module(*copied(self.document.inputs))
            except Exception:
                # A module's code raises anything where sizes do not fit.
                return True
        return False

    def fails(self, graph: DependencyGraph, groups: Sequence[ChannelGroup]) -> bool:
        """Whether the module does not compute what its graph does without some of the channels."""
        try:
            return self.differs(*self.without_some(graph, groups))
        except YoloPruneError:
            # What cannot be cut in the graph is not cut: the rest of the module can be.
            return True

    def differs(self, slim: Graph, parameters: Mapping[str, Tensor], surgery: Surgery) -> bool:
        """Whether the module does not compute after surgery what a slim graph does."""
        with unchanged(self.bench.module) as module:
            operate(module, surgery)
            return self.bench.difference(module, slim, parameters) is not None

    def without_some(
        self, graph: DependencyGraph, groups: Sequence[ChannelGroup]
    ) -> tuple[Graph, Mapping[str, Tensor], Surgery]:
        """The slim graph, its parameters, and what is done to the module."""
        edits = removal(graph, self.some_gone(graph, groups))
        slim, parameters = edit(self.network.graph, self.network.parameters, edits)
        return slim, parameters, self.document.surgery(edits, slim)

    def some_gone(
        self, graph: DependencyGraph, groups: Sequence[ChannelGroup]
    ) -> NDArray[np.bool_]:
        """A mask over channels: some of each group are gone, another number of each next one.

        Or another of each of one size, as far as there are so many.
        """
        generator = np.random.default_rng(0)
        keep = {}
        ranks: defaultdict[int, int] = defaultdict(int)
        for number, group in enumerate(groups):
            size, rank = group.part_size, ranks[group.part_size]
            ranks[size] += 1
            if self.each_another:
                counts = max(1, size - 2)
                gone = 1 + (counts // 2 - rank) % counts
            else:
                # Whoever halves what it reads gives the first half the odd one: that one keeps
                # fewer here.
                gone = 1 + (2 - number % 3) * max(1, size // 4)
            runs = [
                part * size + np.sort(generator.permutation(size)[min(gone, size - 1) :])
                for part in range(group.equal_parts)
            ]
            keep[group.id] = tuple(np.concatenate(runs).tolist())
        return graph.kept(keep)

    def told(self, graph: DependencyGraph, group: ChannelGroup) -> list[str]:
        """Nodes that are told other numbers, or become others, without some channels of a group."""
        edits = removal(graph, self.some_gone(graph, [group]))
        nodes = {node for node, _ in edits.constants} | edits.attributes.keys() | edits.nodes.keys()
        return sorted(nodes)

    def held(self, graph: DependencyGraph, group: ChannelGroup, also: str) -> Iterator[Held]:
        """What keeps a group whole, and why; `also` is whose code that may be, too."""
        module, worked_out = self.document.module, self.document.worked_out()
        members = (*group.producers, *group.consumers)
        for path in (worked_out[own.node] for own in members if own.node in worked_out):
            if not is_parametrized(module.get_submodule(path)):
                reason = (
                    f"{self.document.titled(path)} works its kernel out of parameters, or reads "
                    "one in several ways: a layer that has the kernel itself is thinned"
                )
                return _held(group, reason)
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


_Fails: TypeAlias = Callable[[DependencyGraph, Sequence[ChannelGroup]], bool]
"""Whether a module does not go without some channels of each of these groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Nodes that read a value in equal runs along an axis, and the groups that hold channels."""

    nodes: list[str]
    value: str
    axis: int
    parts: int
    groups: list[ChannelGroup]


def _runs_read(graph: DependencyGraph) -> list[_Run]:
    labels = graph.labels
    found: dict[tuple[str, int, int], _Run] = {}
    for node in graph.graph.nodes:
        ids = labels.values.get(node.inputs[0]) if node.inputs else None
        if ids is None or node.operator not in ("Reshape", "Split"):
            continue
        groups = [group for group in graph.prunable if np.isin(group.channels, ids).any()]
        shapes = [labels.facts.shapes[name] for name in (node.inputs[0], *node.outputs)]
        for axis in varying(ids) if groups else ():
            if parts := _runs(node, shapes, axis):
                value = node.inputs[0]
                run = _Run(nodes=[], value=value, axis=axis, parts=parts, groups=groups)
                # Each part of what a module splits may be taken by a node of its own.
                found.setdefault((value, axis, parts), run).nodes.append(node.name)
    return [*found.values()]


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
