"""Modules as ONNX models, through torch's own exporter."""

import ast
import gc
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from yoloprune.errors import GraphError, MissingDependencyError, UsageError
from yoloprune.frontends.onnx.protos import first_line, node_names

if TYPE_CHECKING:
    import onnx

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where the exporter notes which modules a node was called in."""

LOGGERS = ("torch", "onnxscript")
"""Whose loggers tell of packages that are not installed, and of what is tried and fails."""


def exported(
    module: nn.Module, inputs: Sequence[Any], dynamic_shapes: Any = None
) -> "onnx.ModelProto":
    """A module as an ONNX model whose initializers have the names of its parameters and buffers.

    Raises `GraphError` where torch cannot export it, `MissingDependencyError` without onnxscript.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"modules need the package {error.name}: pip install 'yoloprune[modules]'"
        ) from error
    with _quiet(), _uncollected():
        try:
            program = torch.onnx.export(
                module,
                # A dictionary at the end is one: by itself it would be taken for keywords.
                (*inputs, {}) if isinstance(inputs[-1], dict) else tuple(inputs),
                dynamo=True,
                optimize=False,
                verbose=False,
                dynamic_shapes=dynamic_shapes,
            )
        except Exception as error:
            # torch has an exception of its own for each step of it.
            cause = error.__cause__ or error
            raise GraphError(
                f"{type(module).__name__}: torch cannot export it to ONNX: {first_line(cause)}"
            ) from error
    assert program is not None
    return program.model_proto


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python's collector of cycles off: torch makes objects by the million here, and keeps them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch warns of and prints while it exports is of its own versions, and of what it tries.

    Where it fails, it prints pages of its graph.
    """
    below = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LOGGERS]
    levels = {own: own.level for own in map(logging.getLogger, {*LOGGERS, *below})}
    try:
        for own in levels:
            own.setLevel(logging.CRITICAL + 1)
        with (
            warnings.catch_warnings(),
            redirect_stdout(StringIO()) as pages,
            redirect_stderr(pages),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for own, level in levels.items():
            own.setLevel(level)


def scopes(model: "onnx.ModelProto", module: nn.Module) -> dict[str, str]:
    """The module in which each node is called, by its name; "" is the outermost."""
    known = {name for name, _ in module.named_modules(remove_duplicate=False)}
    found = {}
    for name, node in zip(node_names(model.graph.node), model.graph.node, strict=True):
        said = next((e.value for e in node.metadata_props if e.key == SCOPES), "[]")
        # The last is what the exporter calls the call itself; of several calls some are numbered.
        names = [_path(re.sub(r"@\d+", "", own), module) for own in ast.literal_eval(said)[:-1]]
        found[name] = next((own for own in reversed(names) if own in known), "")
    return found


def _path(name: str, module: nn.Module) -> str:
    """The path of a module that may have been reached through a part of a list, as `list[:-1]`."""
    while (part := _PART.search(name)) is not None:
        path, bounds, number = part.groups()
        try:
            own: Any = module.get_submodule(path)
            found = range(len(own))[slice(*map(ast.literal_eval, bounds.split(", ")))][int(number)]
        except (AttributeError, IndexError, TypeError):
            return ""
        name = f"{path}.{found}".removeprefix(".") + name[part.end() :]
    return name


_PART = re.compile(r"^(.*?)\.?slice\((.*?)\)\.(\d+)")


def tensors_in(values: object) -> tuple[Tensor, ...]:
    """All tensors in what a module is given or gives, in order."""
    return tuple(leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor))


def copied(values: Any) -> Any:
    """What a module is called with, of tensors of its own: it may change them in place."""
    return pytree.tree_map(lambda own: own.clone() if isinstance(own, Tensor) else own, values)


def as_inputs(example_inputs: object) -> tuple[Any, ...]:
    """What a module is called with; raises `UsageError` where there is no tensor in it."""
    given = tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
    if not tensors_in(given):
        raise UsageError("`example_inputs` must be a tensor, or several, as the module is called")
    return given


def sizes_given(
    names: Mapping[str, Sequence[int | str]], inputs: Sequence[Tensor]
) -> dict[str, int]:
    """The sizes that a graph leaves open, by name, as the example has them."""
    found: dict[str, int] = {}
    for shape, tensor in zip(names.values(), inputs, strict=True):
        for size, own in zip(shape, tensor.shape, strict=True):
            if isinstance(size, str):
                found.setdefault(size, int(own))
    return found
