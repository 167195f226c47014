"""A torch module as a document: its tensors, its sizes, and how to cut them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from yoloprune.errors import UsageError
from yoloprune.frontends.torch.export import tensors_in
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.origins import Origin, named_tensors
from yoloprune.frontends.torch.saved import SUFFIX, write_module
from yoloprune.frontends.torch.sizes import Changes, sizes_of
from yoloprune.frontends.torch.surgery import Place, Surgery, TensorCut, tensor_cut
from yoloprune.graph.edits import ArrayCut, Edits, edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import LayerRow, rows_of_nodes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModuleDocument:
    """A copy of a module, and which of its tensors the arrays of its graph are.

    `module` is in evaluation mode on the CPU, `inputs` are what it was called with, `scopes` the
    modules in which nodes are called; `chosen` takes what counts from what it gives. What `unheard`
    nodes are told, no attribute says, and those that `stay` say something else. `surgeries` led to
    it from the module that was first read; `source` are the files that its tensors were read from,
    none for one that was given.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    graph: Graph
    origins: Mapping[str, Origin]
    scopes: Mapping[str, str]
    title: str
    chosen: Callable[..., object] | None = None
    unheard: frozenset[str] = frozenset()
    stay: frozenset[Place] = frozenset()
    surgeries: tuple[Surgery, ...] = ()
    source: tuple[Path, ...] = ()

    @property
    def names(self) -> None:
        """None: a module does not say how classes are called."""
        return

    @property
    def suffix(self) -> str:
        """Of the tensors' file."""
        return SUFFIX

    @property
    def header_bytes(self) -> int:
        """None: what stands before the tensors is not counted."""
        return 0

    def digest(self) -> str:
        """The digest of the graph."""
        return self.graph.digest()

    def layer(self, node: str) -> str:
        """The node itself."""
        return node

    def layers(self, graph: Graph) -> tuple[LayerRow, ...]:
        """The nodes."""
        return rows_of_nodes(graph)

    def titled(self, path: str) -> str:
        """A module of these, in words."""
        return f"{path or 'the module'} ({type(self.module.get_submodule(path)).__name__})"

    def place(self, node: str) -> str:
        """The module whose tensors a node reads, or else in which it is called; itself for none."""
        inputs = next(own.inputs for own in self.graph.nodes if own.name == node)
        read = [self.origins[name].tensor for name in inputs if name in self.origins]
        path = read[0].rpartition(".")[0] if read else self.scopes.get(node, "")
        return self.titled(path) if read or path else node

    def applied(self, edits: Edits) -> "ModuleDocument":
        """The document of the module that edits leave.

        Raises `UsageError` for a task: a module's heads are cut by whoever defines them.
        """
        if edits.task is not None:
            raise UsageError(
                f"{self.title}: the classes of a module are in its own code: define its heads for "
                "those that are wanted, and load their rows"
            )
        slim, _ = edit(self.graph, self._meta(), edits)
        surgery = self.surgery(edits, slim)
        module = shared(self.module)
        operate(module, surgery)
        cuts = self._cuts(edits)
        return replace(
            self,
            module=module,
            graph=slim,
            origins={name: own.after(cuts.get(name)) for name, own in self.origins.items()},
            title=f"{self.title}-slim",
            surgeries=(*self.surgeries, surgery),
            source=(),
        )

    def surgery(self, edits: Edits, slim: Graph, *, told_alone: bool = False) -> Surgery:
        """What edits, which leave a slim graph, are in the module.

        Those of what the module keeps nowhere are left out: whether it computes the same without
        them is seen when it runs. With `told_alone`, so are sizes that no node is told.
        """
        tensors: dict[str, TensorCut] = {}
        shapes = {name: tuple(own.shape) for name, own in named_tensors(self.module).items()}
        for name, cut in self._cuts(edits).items():
            origin = self.origins[name]
            own = origin.cut(cut, shapes[origin.tensor])
            if own is not None:
                tensors[origin.tensor] = tensor_cut(own, shapes[origin.tensor])
        changes = Changes(self.graph, slim, edits, self.scopes, self.unheard)
        if told_alone:
            changes.seen.clear()
        sizes = sizes_of(self.module, changes, self.origins, tensors, self.stay)
        return Surgery(tensors=tensors, sizes=sizes)

    def _meta(self) -> dict[str, Tensor]:
        return {
            name: torch.empty(parameter.shape, device="meta")
            for name, parameter in self.graph.parameters.items()
        }

    def _cuts(self, edits: Edits) -> dict[str, ArrayCut]:
        """What stays of each array that is one of the module's tensors."""
        return {
            node.inputs[position]: cut
            for node in self.graph.nodes
            for position in range(len(node.inputs))
            if (cut := edits.arrays.get((node.name, position))) is not None
            and node.inputs[position] in self.origins
        }

    def outputs_of(self, given: object) -> tuple[Tensor, ...]:
        """The tensors that count in what the module gives, in order, each once."""
        found = tensors_in(given if self.chosen is None else self.chosen(given))
        return tuple({id(own): own for own in found}.values())

    def unread(self) -> "ModuleDocument":
        """The same document of other parameters."""
        return replace(self, source=())

    def holding(self, parameters: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the module with these parameters of the graph."""
        module = deepcopy(self.module)
        write_numbers(module, self.numbers(parameters))
        return module

    def numbers(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a graph's parameters are in the module, where they are not what it has already."""
        tensors = named_tensors(self.module)
        found = {}
        for name, array in parameters.items():
            if (origin := self.origins.get(name)) is not None:
                own = tensors[origin.tensor]
                written = origin.written(array, own)
                if not torch.equal(written, own):
                    found[origin.tensor] = written
        return found

    def worked_out(self) -> dict[str, str]:
        """Nodes that read what the module's code works out of its tensors, and in which module.

        Such parameters of the graph cannot be written into the module, nor can a tensor that it
        reads in several ways.
        """
        times = Counter(own.tensor for own in self.origins.values())
        once = {name for name, own in self.origins.items() if times[own.tensor] == 1}
        worked_out = self.graph.parameters.keys() - once
        return {
            node.name: self.scopes.get(node.name, "")
            for node in self.graph.nodes
            if worked_out.intersection(node.inputs)
        }

    def parameters(self, module: nn.Module) -> dict[str, Tensor]:
        """The parameters of the graph, as a module of the same shape has them."""
        tensors = named_tensors(module)
        return {
            name: own.read(tensors[own.tensor])
            for name, own in self.origins.items()
            if name in self.graph.parameters
        }

    def constants(self, module: nn.Module) -> dict[str, NDArray[Any]]:
        """Constants of the graph that are tensors of the module, as one of the same shape has them.

        A factor for all channels, a table of positions: what is trained and never cut.
        """
        tensors, before = named_tensors(module), self.graph.constants
        found = {
            name: own.read(tensors[own.tensor]).to(torch.float64).numpy().astype(before[name].dtype)
            for name, own in self.origins.items()
            if name in before
        }
        for array in found.values():
            array.setflags(write=False)
        return found

    def check_saved(self, parameters: Mapping[str, Tensor]) -> None:
        """Raise `UsageError` for parameters that a file of the module's state does not hold."""
        state = self.module.state_dict()
        if lost := [name for name in self.numbers(parameters) if name not in state]:
            raise UsageError(
                f"{self.title}: recovery changed {', '.join(lost[:5])}, which is in no state that "
                "is saved: make it a parameter or a persistent buffer, or prune without recovery"
            )

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> tuple[Path, ...]:
        """Write `path`, a .safetensors, and the plan of all prunings beside it, as .json.

        Raises `UsageError` for parameters that the module's state does not hold.
        """
        self.check_saved(parameters)
        return write_module(self.holding(parameters), self.surgeries, path)


def write_numbers(module: nn.Module, numbers: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module's own of their names."""
    tensors = named_tensors(module)
    with torch.no_grad():
        for name, tensor in numbers.items():
            tensors[name].copy_(tensor)


def shared(module: nn.Module) -> nn.Module:
    """A copy of a module that holds the same tensors: who replaces some leaves it as it is."""
    return deepcopy(module, {id(own): own for own in named_tensors(module).values()})


@contextmanager
def unchanged(module: nn.Module) -> Iterator[nn.Module]:
    """A module that is afterwards what it was, whatever is set in it meanwhile."""
    before = [
        (
            own,
            {name: v.copy() if isinstance(v, _CONTAINERS) else v for name, v in vars(own).items()},
        )
        for own in module.modules()
    ]
    try:
        yield module
    finally:
        for own, held in before:
            vars(own).clear()
            vars(own).update(held)


_CONTAINERS = (dict, list, set)


def in_dtype(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a module whose real tensors are in a dtype, those that are not registered too."""
    found = deepcopy(module).to(dtype)
    for own in found.modules():
        vars(own).update({name: converted(value, dtype) for name, value in vars(own).items()})
    return found


def converted(value: Any, dtype: torch.dtype) -> Any:
    """A real tensor in a dtype; anything else as it is."""
    real = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if real else value
