"""What a module runs that gives nothing that counts: in training alone, or always."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from yoloprune.frontends.torch.document import ModuleDocument, unchanged
from yoloprune.frontends.torch.export import copied


def in_training(document: ModuleDocument) -> nn.Module | None:
    """A copy of the module as it trains; None where it does not run so, without labels perhaps."""
    module = deepcopy(document.module)
    for own in module.modules():
        # Statistics of a batch of one are none.
        own.training = not isinstance(own, nn.modules.batchnorm._NormBase)
    with unchanged(module), torch.no_grad(), torch.random.fork_rng([]):
        try:
            module(*copied(document.inputs))
        except Exception:
            return None
    return module


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
    entered: list[str] = []
    with unchanged(document.module) as module, torch.no_grad():
        for path, own in others.items():
            own.register_forward_pre_hook(lambda *_, path=path: entered.append(path))
        module(*copied(document.inputs))
    return next(iter(entered), None)
