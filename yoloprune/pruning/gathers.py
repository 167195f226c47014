"""A chain of moves as one `Gather` of its root, with what brings axes together and apart again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Attribute, Node
from yoloprune.pruning.labels.ids import Ids, varying
from yoloprune.pruning.labels.labels import Chain

Size = int | None
"""How many entries an axis has; None for as many as there are."""


@dataclass(kw_only=True, slots=True)
class _Steps:
    """Nodes one after the other, and the constants that they read."""

    name: str
    value: str
    new: Callable[[str], str]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)

    def add(self, operator: str, *numbers: Sequence[int], **attributes: Attribute) -> None:
        inputs = [self.value]
        own = self.value = self.new(f"{self.name}.{operator.lower()}")
        for array in numbers:
            inputs.append(self.new(f"{own}.numbers"))
            self.constants[inputs[-1]] = np.array(array, np.int64)
        self.nodes.append(
            Node(
                name=own,
                operator=operator,
                inputs=tuple(inputs),
                outputs=(own,),
                attributes=attributes,
            )
        )

    def turn(self, order: Sequence[int]) -> None:
        if list(order) != sorted(order):
            self.add("Transpose", perm=tuple(order))

    def reshape(self, sizes: Sequence[Size], same: int) -> None:
        """Into these sizes, of which the first `same` are as they are."""
        target = [-1 if size is None else size for size in sizes]
        self.add("Reshape", [0] * same + target[same:])


def gathered(
    name: str, chain: Chain, left: Ids, places: Ids, new: Callable[[str], str]
) -> tuple[tuple[Node, ...], dict[str, NDArray[Any]]]:
    """Nodes that give the value `name` from what is left of its root, and their constants.

    `left` are the channels that the root still has, in its order, and `places`, as those of the
    chain, what the value is to have of them. `new` makes names that nothing else has.
    """
    steps = _Steps(name=name, value=chain.root, new=new)
    rest = [axis for axis in range(len(chain.before)) if axis not in chain.held]
    front = sum(axis < chain.held[-1] for axis in rest)
    if len(chain.held) > 1:
        steps.turn([*rest[:front], *chain.held, *rest[front:]])
        sizes = [chain.before[axis] for axis in rest]
        steps.reshape([*sizes[:front], len(left), *sizes[front:]], front)
    rank = np.zeros(int(left.max()) + 1, np.int64)
    rank[left] = np.arange(len(left))
    order = rank[places.reshape(-1)]
    if not np.array_equal(order, np.arange(len(left))):
        steps.add("Gather", order.tolist(), axis=front)
    if not chain.straight:
        _take_apart(steps, chain, places)
    if not steps.nodes:
        steps.add("Identity")
    # The last of them gives the value itself.
    last = steps.nodes[-1]
    steps.nodes[-1] = Node(
        name=last.name,
        operator=last.operator,
        inputs=last.inputs,
        outputs=(name,),
        attributes=last.attributes,
    )
    return tuple(steps.nodes), steps.constants


def _take_apart(steps: _Steps, chain: Chain, places: Ids) -> None:
    """From channels along one axis to the shape of the value."""
    channels = varying(chain.places)
    same = 1 if chain.first_alike else 0
    slim = [places.shape[axis] if axis in channels else s for axis, s in enumerate(chain.after)]
    # Axes of channels are numbered from behind: -1 is the first.
    ours = [-1 - number for number in range(len(channels))]
    before = [*range(chain.front), *ours, *range(chain.front, len(chain.runs))]
    own = iter(ours)
    after = [next(own) if number < 0 else number for number in chain.order]
    sizes = dict(enumerate(chain.runs))
    sizes |= {-1 - number: places.shape[axis] for number, axis in enumerate(channels)}
    if before != after:
        steps.reshape([sizes[number] for number in before], same)
        steps.turn([before.index(number) for number in after])
        if [sizes[number] for number in after] == slim:
            return
    steps.reshape(slim, same)
