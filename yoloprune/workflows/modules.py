"""Torch modules as networks, and plans carried out in them."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from yoloprune.errors import GraphError, PlanError, UsageError, VerificationError
from yoloprune.frontends.torch.checks import check
from yoloprune.frontends.torch.document import ModuleDocument, write_numbers
from yoloprune.frontends.torch.layers import is_layer, is_torchs
from yoloprune.frontends.torch.operate import operate
from yoloprune.frontends.torch.origins import named_tensors
from yoloprune.frontends.torch.read import read
from yoloprune.frontends.torch.saved import (
    SUFFIX,
    load_state,
    read_module,
    read_saved,
    write_module,
)
from yoloprune.frontends.torch.surgery import Size, Surgery
from yoloprune.graph.model import Model
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.bench import bench
from yoloprune.workflows.trial import allowed

SLIM = f"slim{SUFFIX}"
"""A slim module's tensors in the folder of a pruning."""


def load_module(
    module: nn.Module,
    example_inputs: object,
    *,
    outputs: Callable[..., object] | None = None,
    dynamic_shapes: object = None,
    title: str | None = None,
    reporter: Reporter = SILENT,
) -> Model:
    """A torch module as a network, to be pruned; the module itself stays as it is.

    `example_inputs` are what it is called with, a tensor or several. `outputs` chooses, from what
    the module gives, what must keep its size: all by default. `dynamic_shapes` name the sizes that
    may be others, as `torch.export` takes them. Channels that the module's own code counts on are
    frozen, by the name of the module whose code it is. Raises `GraphError` where torch cannot
    export the module, or it computes something else; `MissingDependencyError` without onnxscript.
    """
    with reporter.stage("exporting the module"):
        network = read(
            module, example_inputs, outputs=outputs, dynamic_shapes=dynamic_shapes, title=title
        )
    with reporter.stage("trying what its code lets go"):
        return allowed(network, module_of(network))


def module_of(network: Model) -> ModuleDocument:
    """The document of a network that was a module; raises `UsageError` for another."""
    if isinstance(network.document, ModuleDocument):
        return network.document
    raise UsageError(
        f"{network.document.title}: this network was read from a file: a module is needed, as "
        "`load_module` reads it"
    )


def check_module(network: Model) -> None:
    """Raise `VerificationError` unless a network's module computes what the network does."""
    document = module_of(network)
    try:
        bench(network, document, document.holding(network.parameters))
    except GraphError as error:
        raise VerificationError(f"{document.title}: {error}") from None


def surgeries(dense: Model, slim: Model) -> tuple[Surgery, ...]:
    """What is done to the module of a dense network to make that of the slim one."""
    return module_of(slim).surgeries[len(module_of(dense).surgeries) :]


def sizes_set(dense: Model, slim: Model) -> dict[str, tuple[Size, Size]]:
    """Attributes that the module's own code keeps sizes in, dense and slim, by path and name.

    Those that layers of torch's own have are not among them; none for a network that is no module.
    """
    if not isinstance(dense.document, ModuleDocument):
        return {}
    before, after = (dict(module_of(own).module.named_modules()) for own in (dense, slim))
    return {
        f"{path}.{name}".removeprefix("."): (getattr(before[path], name), getattr(own, name))
        for path, own in after.items()
        if not is_torchs(own) and not is_layer(own)
        for done in surgeries(dense, slim)
        for name in done.sizes.get(path, ())
    }


def carry_out(
    dense: Model, slim: Model, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> nn.Module:
    """Make a module, in place, what a slim network is of a dense one; see `Cut.apply`."""
    done = surgeries(dense, slim)
    # What this pruning changed beside slicing, and not what training has changed since.
    sliced = module_of(dense).holding(dense.parameters)
    pruned = dict(named_tensors(sliced))
    for own in done:
        operate(sliced, own)
    changed = replace(module_of(slim), module=sliced).numbers(slim.parameters)
    check(module, done, changed, optimizers)
    _check_untrained(module, {name: pruned[name] for name in changed})
    for own in done:
        operate(module, own, optimizers)
    write_numbers(module, changed)
    return module


def _check_untrained(module: nn.Module, pruned: Mapping[str, Tensor]) -> None:
    """Raise `UsageError` where a module's tensors are not those that were pruned: no others go."""
    tensors = named_tensors(module)
    for name, tensor in pruned.items():
        own = tensors[name]
        if not torch.equal(own, tensor.to(own)):
            raise UsageError(
                f"{type(module).__name__}: its {name} is not what was pruned: it was trained "
                "since, or is an average, and what recovery gave would be written over it. Prune "
                "the module as it is now (`load_module`); make averages anew, of the slim module"
            )


def state_shapes(module: nn.Module) -> dict[str, tuple[int, ...] | None]:
    """The shapes of what a module's state holds, by name; None of what is no tensor."""
    return {name: getattr(value, "shape", None) for name, value in module.state_dict().items()}


def write_slim(module: nn.Module, done: Sequence[Surgery], slim: Model, path: Path) -> None:
    """Write a module that is what a slim network's is, if perhaps of other numbers."""
    module_of(slim).check_saved(slim.parameters)
    wanted, found = map(state_shapes, (module_of(slim).module, module))
    if odd := sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n)):
        raise UsageError(
            f"{type(module).__name__}: not the slim module of this cut: {', '.join(odd[:5])} differ"
        )
    write_module(module, done, path)


def load_slim(definition: nn.Module, path: str | Path) -> nn.Module:
    """A slim module that was saved, made of its dense `definition`, in place.

    `path` is the .safetensors, whose plan lies beside it as .json, or a folder that pruning wrote.
    Nothing is unpickled. Raises `PlanError` or `WeightsError` for files that are damaged, or of
    another module, and `UsageError` for a definition on the meta device, which holds no numbers; it
    is then as it was.
    """
    path = Path(path)
    read_module(definition, path / SLIM if path.is_dir() else path)
    return definition


def read_slim(slim: Model, path: Path) -> Model:
    """A slim network with the numbers of the module that was saved as `path`.

    Raises `PlanError` where another plan lies beside it, and what `load_slim` raises.
    """
    document = module_of(slim)
    done, state = read_saved(path)
    if done != document.surgeries:
        raise PlanError(f"{path.with_suffix('.json')}: not what this plan makes of this module")
    module = deepcopy(document.module)
    load_state(module, state, path)
    source = (path.with_suffix(".json"), path)
    return replace(with_module(slim, module), document=replace(document, source=source))


def with_module(network: Model, module: nn.Module) -> Model:
    """A network with the numbers of a module of its shape, trained since perhaps."""
    own = module_of(network)
    constants = {**network.graph.constants, **own.constants(module)}
    graph = replace(network.graph, constants=constants)
    parameters = {**network.parameters, **own.parameters(module)}
    document = replace(own, module=module, graph=graph).unread()
    return Model(graph=graph, parameters=parameters, document=document)
