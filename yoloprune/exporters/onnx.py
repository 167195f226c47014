"""ONNX export that is not done before ONNX Runtime has computed the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from yoloprune.detection.decode import decode
from yoloprune.engines.agreement import TOLERANCE, largest_difference
from yoloprune.engines.benchmark import sample_image
from yoloprune.engines.onnx_bytes import float32_arrays
from yoloprune.engines.onnxruntime import ONNXRUNTIME, runner, session
from yoloprune.engines.table import run_in
from yoloprune.errors import UsageError, VerificationError, YoloPruneError
from yoloprune.execution.module import Network
from yoloprune.exporters.format import ExportCheck, ExportFormat
from yoloprune.exporters.interface import OnnxForm, interface, interface_lines, metadata, onnx_graph
from yoloprune.files import write_atomically
from yoloprune.frontends.darknet.document import DarknetDocument, pair
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def export_onnx(
    spec: NetworkSpec,
    state: State,
    path: Path,
    *,
    decoded: bool = False,
    names: tuple[str, ...] | None = None,
    batch: int | None = None,
    seed: int = 0,
) -> ExportCheck:
    """Write a network as an ONNX file, in the form that `OnnxForm` describes.

    The file appears only after ONNX Runtime, run on seeded noise, agreed with torch; else
    `VerificationError`. Raises `CfgError` where there are no boxes to decode.
    """
    require_onnx()
    form = OnnxForm(decoded=decoded, names=names, batch=batch)
    document = interface(spec, form)
    model = onnx_model(
        onnx_graph(spec, form),
        float32_arrays(parameters(state)),
        description="\n".join(interface_lines(document)),
        metadata=metadata(document),
    )
    with write_atomically(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        del model  # The check needs the memory.
        return _check(spec, state, temporary, path, seed)


def check_onnx(spec: NetworkSpec, state: State, path: Path, *, seed: int = 0) -> ExportCheck:
    """Compare a file of `export_onnx` with torch; raises `VerificationError` if they differ."""
    require_onnx()
    return _check(spec, state, path, path, seed)


def read_form(path: Path) -> OnnxForm:
    """The form that a file was written in; raises `VerificationError` if it cannot be read."""
    require_onnx()
    with _onnx_runtime(path):
        return _form(_session(path))


def require_onnx() -> None:
    """Raise `MissingDependencyError` where the packages that `export_onnx` needs are missing."""
    ONNXRUNTIME.require()


def _check(spec: NetworkSpec, state: State, path: Path, name: Path, seed: int) -> ExportCheck:
    """Compare the file at `path`, which messages call `name`, with torch on noise."""
    network = Network(lower(spec), parameters(state), dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    errors: list[float] = []
    with _onnx_runtime(name):
        ready = _session(path)
        form, run = _form(ready), runner(ready)
        # A file for any number of images has to be right for several, too.
        for count in (2, 1) if form.batch is None else (form.batch,):
            images = torch.rand(count, *spec.input_shape, generator=generator)
            found = run(images)
            expected = _expected(spec, network, images, form)
            shapes = {key: tuple(tensor.shape) for key, tensor in found.items()}
            wanted = {key: tuple(tensor.shape) for key, tensor in expected.items()}
            if shapes != wanted:
                raise VerificationError(
                    f"{name}: its outputs are {shapes}, those of the network {wanted}"
                )
            if any(tensor.isnan().any() for tensor in expected.values()):
                raise VerificationError(
                    f"{name}: the network itself gives NaN on noise: its weights overflow"
                )
            errors += [_relative_error(found[key], tensor) for key, tensor in expected.items()]
    worst = float(np.max(errors))  # Of numbers with a NaN, NaN.
    if not worst <= TOLERANCE:
        raise VerificationError(
            f"{name}: ONNX Runtime differs from torch by {worst:.3g} of an output's largest value "
            f"(allowed {TOLERANCE:g})"
        )
    return ExportCheck(engine=ONNXRUNTIME.title, outputs=shapes, relative_error=worst)


def _expected(
    spec: NetworkSpec, network: Network, images: Tensor, form: OnnxForm
) -> dict[str, Tensor]:
    with torch.inference_mode():
        maps = network(images)
        if form.decoded:
            predictions = decode(spec, maps)
            scores = predictions.objectness[..., None] * predictions.classes
            return {"boxes": predictions.boxes, "scores": scores}
    return dict(zip(network.graph.outputs, maps, strict=True))


def _relative_error(theirs: Tensor, expected: Tensor) -> float:
    # An untrained network's boxes can be infinitely large, in every engine.
    difference = torch.where(theirs == expected, 0.0, theirs - expected).abs().max().item()
    scale = torch.where(expected.isinf(), 0.0, expected).abs().max().item()
    return difference / max(scale, 1e-12)


def _session(path: Path) -> "InferenceSession":
    return session(str(path), torch.get_num_threads())


def _form(ready: "InferenceSession") -> OnnxForm:
    (batch, *_) = ready.get_inputs()[0].shape
    names = ready.get_modelmeta().custom_metadata_map.get("names")
    return OnnxForm(
        decoded=any(output.name == "boxes" for output in ready.get_outputs()),
        names=None if names is None else tuple(json.loads(names)),
        batch=batch if isinstance(batch, int) else None,
    )


@contextmanager
def _onnx_runtime(path: Path) -> Iterator[None]:
    """Raise `VerificationError` for everything that ONNX Runtime finds wrong with a file."""
    try:
        yield
    except YoloPruneError:
        raise
    except Exception as error:
        # onnxruntime has an exception of its own for each kind of fault.
        reason = str(error).splitlines()[0]
        raise VerificationError(f"{path}: ONNX Runtime cannot run it: {reason}") from error


def _write(model: Model, path: Path, form: OnnxForm) -> ExportCheck:
    document = model.document
    if not isinstance(document, DarknetDocument):
        if path.resolve() in {source.resolve() for source in document.source}:
            raise UsageError(f"{path}: the network was read from this file: choose another")
        check = _agreed(model, model)
        model.save(path)
        return check
    return export_onnx(*pair(model), path, decoded=form.decoded, names=form.names, batch=form.batch)


def _check_model(model: Model, path: Path) -> ExportCheck:
    if not isinstance(model.document, DarknetDocument):
        return _agreed(model, path)
    return check_onnx(*pair(model), path)


def _agreed(model: Model, written: Model | Path) -> ExportCheck:
    """Compare a network that came as an .onnx, in ONNX Runtime, with torch on noise."""
    require_onnx()
    images = sample_image(model)
    found = run_in(written, ONNXRUNTIME.name)(images)
    error = largest_difference(found, run_in(model, device="cpu")(images))
    if not error <= TOLERANCE:
        raise VerificationError(
            f"{model.document.title}: ONNX Runtime differs from torch by {error:.3g} of an "
            f"output's largest value (allowed {TOLERANCE:g})"
        )
    shapes = {name: tuple(value.shape) for name, value in found.items()}
    return ExportCheck(engine=ONNXRUNTIME.title, outputs=shapes, relative_error=error)


ONNX = ExportFormat(
    name="onnx", suffix=".onnx", require=require_onnx, write=_write, check=_check_model
)
