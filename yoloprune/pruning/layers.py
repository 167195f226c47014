"""Layers: contractions with the bias and the batch norm that belong to them.

This is how criteria, re-fits and compensation see a network; any graph has it.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from yoloprune.graph.arrays import with_computed
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.tensors import tensor_of
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.labels import Contraction

Arrays: TypeAlias = Mapping[str, Tensor]
"""The numbers of kernels, biases and batch norms, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """A batch norm: its node, and the names of its arrays."""

    node: str
    scale: str
    bias: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A contraction, the names of its kernel and bias, and the batch norm that alone reads it.

    `before` and `after` are the shapes of what the contraction reads and gives, `window` is that of
    the kernel over the axes that hold no channels. `output` is the
    value in which its bias is added, by itself or by an `Add` that alone reads it. `own` tells
    whether all its arrays are trained, and nothing else reads them: then they may be changed.
    """

    node: Node
    contraction: Contraction
    kernel: str
    bias: str | None
    norm: Norm | None
    before: tuple[int, ...]
    after: tuple[int, ...]
    window: tuple[int, ...]
    output: str
    own: bool

    @property
    def name(self) -> str:
        """The contraction's node name."""
        return self.node.name

    @property
    def filters(self) -> int:
        """How many channels it gives."""
        return len(self.contraction.filters)

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return self.before[self.channel_axis]

    @property
    def groups(self) -> int:
        """In how many groups it reads channels."""
        return self.contraction.groups

    @property
    def source(self) -> str:
        """The value that it reads."""
        return self.node.inputs[0]

    @property
    def channel_axis(self) -> int:
        """The axis of what it reads, and of what it gives, along which channels lie."""
        return _channel_axis(self.node)


Layers: TypeAlias = Mapping[str, Layer]
"""Layers by the name of the contraction's node."""


def layers_of(dependencies: DependencyGraph) -> dict[str, Layer]:
    """The layers of a network in the order of its nodes, by the name of the contraction's node."""
    finder = _Finder(dependencies)
    return {found.node: finder.layer(found) for found in dependencies.labels.contractions}


def by_filter(layer: Layer, kernel: Tensor) -> Tensor:
    """A kernel's numbers filter by filter: (F, C / g, ...), for C channels read in g groups."""
    return kernel if layer.contraction.filter_axis == 0 else _turned(layer, kernel)


def as_kernel(layer: Layer, filters: Tensor) -> Tensor:
    """The kernel with these filters (F, C / g, ...): what `by_filter` undoes."""
    return filters if layer.contraction.filter_axis == 0 else _turned(layer, filters)


def _turned(layer: Layer, kernel: Tensor) -> Tensor:
    """Filters and columns exchanged within each group."""
    parts = kernel.reshape(layer.groups, -1, *kernel.shape[1:])
    return parts.transpose(1, 2).flatten(0, 1)


def arrays_of(graph: Graph, parameters: Arrays) -> dict[str, Tensor]:
    """The parameters, the real numbers that stand in the graph itself, and what those compute."""
    device = next(iter(parameters.values())).device if parameters else None
    constants = {name: tensor_of(array) for name, array in graph.constants.items()}
    constants = {n: t.to(device) if t.is_floating_point() else t for n, t in constants.items()}
    arrays = with_computed(graph, {**constants, **parameters})
    return {n: t for n, t in arrays.items() if n in parameters or t.is_floating_point()}


class _Finder:
    def __init__(self, dependencies: DependencyGraph) -> None:
        self.graph = dependencies.graph
        self.shapes = dependencies.labels.facts.shapes
        self.nodes = {node.name: node for node in self.graph.nodes}
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in self.graph.nodes:
            for name in node.inputs:
                self.readers[name].append(node)

    def layer(self, contraction: Contraction) -> Layer:
        node = self.nodes[contraction.node]
        bias, output = self._bias(node, len(contraction.filters))
        norm = self._norm(node, output)
        arrays = Counter([contraction.name, *filter(None, node.inputs[2:])])
        arrays.update([bias] if bias and output != node.outputs[0] else [])
        arrays.update([norm.scale, norm.bias, norm.mean, norm.variance] if norm else [])
        return Layer(
            node=node,
            contraction=contraction,
            kernel=contraction.name,
            bias=bias,
            norm=norm,
            before=self.shapes[node.inputs[0]],
            after=self.shapes[node.outputs[0]],
            window=self.shapes[contraction.name][2:],
            output=output,
            own=all(
                times == len(self.readers[name]) == 1 and name in self.graph.parameters
                for name, times in arrays.items()
            ),
        )

    def _bias(self, node: Node, filters: int) -> tuple[str | None, str]:
        """The array that is added to each filter's sums, and the value in which it is."""
        given = node.outputs[0]
        rank = len(self.shapes[given])
        if len(node.inputs) > 2 and node.inputs[2]:
            plain = all(node.attributes.get(name, 1.0) == 1 for name in ("alpha", "beta"))
            shape = self.shapes[node.inputs[2]]
            fits = self._is_array(node.inputs[2]) and shape[-1:] == (filters,) and plain
            return (node.inputs[2] if fits and max(shape) == filters else None), given
        reader = self._only_reader(given)
        if reader is None or reader.operator != "Add":
            return None, given
        (other,) = (name for name in reader.inputs if name != given)
        wanted = [1] * rank
        wanted[_channel_axis(node)] = filters
        shape = self.shapes.get(other, ())
        if self._is_array(other) and [1] * (rank - len(shape)) + list(shape) == wanted:
            return other, reader.outputs[0]
        return None, given

    def _norm(self, node: Node, value: str) -> Norm | None:
        """The batch norm over a contraction's filters, if nothing else reads what it normalizes."""
        reader = self._only_reader(value)
        if reader is None or reader.operator != "BatchNormalization":
            return None
        arrays = reader.inputs[1:5]
        # A product (B, T, F) holds its filters along another axis than a batch norm reads.
        over = _channel_axis(node) % len(self.shapes[value]) == 1
        if reader.inputs[0] != value or not over or not all(map(self._is_array, arrays)):
            return None
        scale, bias, mean, variance = arrays
        epsilon = reader.attributes.get("epsilon", 1e-5)
        assert isinstance(epsilon, float)
        return Norm(
            node=reader.name, scale=scale, bias=bias, mean=mean, variance=variance, epsilon=epsilon
        )

    def _only_reader(self, name: str) -> Node | None:
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in self.graph.outputs else None

    def _is_array(self, name: str) -> bool:
        return name in self.graph.parameters or name in self.graph.constants


def _channel_axis(node: Node) -> int:
    """The axis of what a contraction reads, and of what it gives, along which channels lie."""
    return -1 if node.operator == "MatMul" else 1
