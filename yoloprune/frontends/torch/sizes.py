"""Sizes that modules keep as attributes, as surgery leaves them.

torch's own layers say theirs by their tensors. Those of other modules are found by comparing what
the module's own calls are told, and what they read and give, before and after: an attribute that
holds a number which became another everywhere there, and only that, may become that number. Which
of them stay all the same, as they hold it by chance, a trial tells.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from yoloprune.frontends.torch.layers import COUNTS, is_layer, is_torchs, layer_sizes
from yoloprune.frontends.torch.origins import Origin, named_tensors
from yoloprune.frontends.torch.surgery import Place, Size, TensorCut
from yoloprune.graph.edits import Edits
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts

_Became = dict[int, set[int]]
"""What numbers became."""


class Changes:
    """What numbers became, by the module whose own calls they are in.

    `told` are those that nodes are told, `seen` those in the shapes of what they read and give.
    What `unheard` nodes are told does not count. `groups` are what groups of kernels became, by the
    kernel's name.
    """

    def __init__(
        self,
        dense: Graph,
        slim: Graph,
        edits: Edits,
        scopes: Mapping[str, str],
        unheard: Collection[str],
    ) -> None:
        self.told: defaultdict[str, _Became] = defaultdict(lambda: defaultdict(set))
        self.seen: defaultdict[str, _Became] = defaultdict(lambda: defaultdict(set))
        self.groups: dict[str, int] = {}
        muted: defaultdict[str, _Became] = defaultdict(lambda: defaultdict(set))
        before, after = facts(dense), facts(slim).shapes
        for node in dense.nodes:
            scope = scopes.get(node.name, "")
            told = muted[scope] if node.name in unheard else self.told[scope]
            for position, name in enumerate(node.inputs):
                array = edits.constants.get((node.name, position))
                known = before.known.get(name)
                if array is not None and known is not None and known.size == array.size:
                    _note(told, known.reshape(-1).tolist(), array.reshape(-1).tolist())
            for name, value in edits.attributes.get(node.name, {}).items():
                _note(told, _numbers(node.attributes.get(name)), _numbers(value))
                if name == "group" and isinstance(value, int):
                    self.groups[node.inputs[1]] = value
            for name in (*node.inputs[:1], *node.outputs):
                if name in after:
                    _note(self.seen[scope], before.shapes[name], after[name])
        for scope, became in muted.items():
            for old, new in became.items():
                self.seen[scope][old] -= new

    def within(self, path: str) -> _Became:
        """What numbers became in the shapes of a module's calls and of those of its modules."""
        found: _Became = defaultdict(set)
        for scope, became in self.seen.items():
            if not path or scope == path or scope.startswith(f"{path}."):
                for old, new in became.items():
                    found[old] |= new
        return found


def _numbers(value: object) -> list[Any]:
    return list(value) if isinstance(value, tuple) else [value]


def _note(became: _Became, before: Iterable[Any], after: Iterable[Any]) -> None:
    for old, new in zip(before, after, strict=False):
        if isinstance(old, int) and isinstance(new, int):
            became[old].add(new)


def sizes_of(
    module: nn.Module,
    changes: Changes,
    origins: Mapping[str, Origin],
    tensors: Mapping[str, TensorCut],
    stays: Collection[Place] = (),
) -> dict[str, dict[str, Size]]:
    """What sizes become, by module and attribute; `tensors` are what is cut of the module's own.

    Attributes that only their number says to be a size are left out where one of them `stays`.
    """
    groups = {
        origins[kernel].tensor.rpartition(".")[0]: count
        for kernel, count in changes.groups.items()
        if kernel in origins
    }
    told, seen = changes.told, changes.seen
    known = named_tensors(module)
    # What has several names is cut by the first of them.
    cuts = {id(known[name]): own for name, own in tensors.items()}
    found: dict[str, dict[str, Size]] = {}
    for path, own in module.named_modules():
        sizes: dict[str, Size] = {}
        if not is_layer(own) or isinstance(own, nn.GroupNorm):
            sizes = _of_attributes(own, told[path], seen[path], changes.within(path))
            sizes = {name: size for name, size in sizes.items() if (path, name) not in stays}
        shapes = _shapes_left(own, cuts)
        if is_layer(own) and shapes:
            count = groups.get(path, getattr(own, "groups", 1))
            sizes |= {
                name: size
                for name, size in layer_sizes(own, shapes, count).items()
                if getattr(own, name) != size
            }
        if sizes:
            found[path] = sizes
    return found


def guessed(module: nn.Module) -> frozenset[Place]:
    """Attributes that only their number may say to be a size: by module, and name."""
    return frozenset(
        (path, name)
        for path, own in module.named_modules()
        if not is_layer(own) and not is_torchs(own)
        for name, _ in _kept(own)
    )


def _shapes_left(module: nn.Module, cuts: Mapping[int, TensorCut]) -> dict[str, tuple[int, ...]]:
    """The shapes of what is left of those tensors of a module that are cut."""
    names = (*module._parameters.items(), *module._buffers.items())
    return {name: cuts[id(own)].after for name, own in names if id(own) in cuts}


def _of_attributes(
    module: nn.Module,
    told: Mapping[int, set[int]],
    seen: Mapping[int, set[int]],
    within: Mapping[int, set[int]],
) -> dict[str, Size]:
    """A module's attributes that hold numbers which became others.

    One that counts what a module reads or gives, by its name, is not what some call of its own
    happens to see: it must have become the same everywhere `within`.

    Beside a number that became another, the same one may stand for something else, as a height does
    in a shape; what torch's own modules keep more often is such a thing.
    """
    strict = is_torchs(module)
    found: dict[str, Size] = {}
    for name, value in _kept(module):
        many = value if isinstance(value, tuple) else (value,)
        shapes = within if name in COUNTS and not strict else seen
        # What calls are told counts before what they happen to see.
        new = tuple(
            _one(told, own, strict)
            or (None if strict else _one(shapes, own, strict or shapes is within))
            or own
            for own in many
        )
        if new != many:
            found[name] = new if isinstance(value, tuple) else new[0]
    return found


def _one(became: Mapping[int, set[int]], number: int, strict: bool) -> int | None:
    """What a number became, if that is one."""
    new = became.get(number, set()) if number > 1 else set()
    if not strict:
        new = new - {number}
    return next(iter(new)) if len(new) == 1 else None


def _kept(module: nn.Module) -> Iterator[tuple[str, Size]]:
    for name, value in vars(module).items():
        several = isinstance(value, list | tuple)
        numbers = tuple(value) if several else (value,)
        # A 1 says nothing: it is what most numbers may become.
        if max(map(_plain, numbers), default=0) > 1 and min(map(_plain, numbers)) >= 0:
            yield name, numbers if several else value


def _plain(value: object) -> int:
    """A whole number, or -1 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
