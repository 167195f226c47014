"""ncnn on the CPU, through its own converter, pnnx."""

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.errors import GraphError
from yoloprune.graph.model import Model

if TYPE_CHECKING:
    import onnx
    from ncnn import Net

TITLE = "ncnn"


def load(model: Model, setup: Setup) -> Runner:
    """A model in ncnn, through ONNX."""
    return _runner(onnx_bytes(model, setup.batch), setup)


def read(path: Path, setup: Setup) -> Runner:
    """An ONNX file in ncnn; raises `GraphError` where its converter or ncnn cannot read it."""
    return _runner(path.read_bytes(), setup)


def _runner(file: bytes, setup: Setup) -> Runner:
    import onnx

    model = onnx.load_from_string(file)
    names = tuple(output.name for output in model.graph.output)
    spell_gathers(model)
    _say_sizes(model)
    file = model.SerializeToString()

    # A network of ncnn is converted for images of one size.
    @cache
    def converted(shape: tuple[int, ...]) -> "Net":
        return _network(file, shape, setup.threads)

    def compute(images: Tensor) -> tuple[Tensor, ...]:
        array = images.cpu().numpy()
        network = converted(array.shape[1:])
        # It computes one image at a time.
        rows = [_outputs(network, image, len(names)) for image in array]
        return tuple(torch.from_numpy(np.stack(maps)) for maps in zip(*rows, strict=True))

    return Runner(title=TITLE, outputs=names, compute=compute)


def _network(file: bytes, shape: tuple[int, ...], threads: int) -> "Net":
    import ncnn
    import pnnx

    network = ncnn.Net()
    options = network.opt
    options.num_threads = threads
    # It would compute in half precision where a processor can, as the other engines do not.
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = False
    with TemporaryDirectory() as folder:
        (Path(folder) / "net.onnx").write_bytes(file)
        size = ",".join(map(str, (1, *shape)))
        command = [pnnx.EXEC_PATH, "net.onnx", f"inputshape=[{size}]", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        param, arrays = Path(folder) / "net.ncnn.param", Path(folder) / "net.ncnn.bin"
        if not param.exists() or not arrays.exists():
            said = (done.stderr or done.stdout).strip().splitlines()
            raise GraphError(f"ncnn cannot run it: pnnx cannot convert it: {(said or ['?'])[-1]}")
        if network.load_param(str(param)) or network.load_model(str(arrays)):
            raise GraphError("ncnn cannot run it: it cannot load what pnnx made of it")
    return network


def spell_gathers(model: "onnx.ModelProto") -> None:
    """Take several channels by slices that are joined: of a `Gather` pnnx reads the first index.

    Each run of channels that follow one another is a slice. Raises `GraphError` where the channels
    are counted from the end, or lie in a table.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    arrays = {array.name: array for array in graph.initializer if array.dims}
    for number in reversed(range(len(graph.node))):
        node = graph.node[number]
        if node.op_type != "Gather" or node.input[1] not in arrays:
            continue
        places = numpy_helper.to_array(arrays[node.input[1]])
        if places.ndim > 1 or places.min(initial=0) < 0:
            raise GraphError(
                f"ncnn cannot run {node.name or 'a Gather'}: its converter, pnnx, reads a Gather "
                "of several channels as one of a single channel"
            )
        axis = next((own.i for own in node.attribute if own.name == "axis"), 0)
        source, name = node.input[0], node.output[0]
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        parts = [f"{name}.run_{n}" for n in range(len(runs))]
        made = []
        for run, part in zip(runs, parts, strict=True):
            bounds = {"start": run[0], "end": run[-1] + 1, "axis": axis}
            for what, value in bounds.items():
                array = np.array([value], np.int64)
                graph.initializer.append(numpy_helper.from_array(array, f"{part}.{what}"))
            inputs = [source, *(f"{part}.{what}" for what in bounds)]
            made.append(helper.make_node("Slice", inputs, [part], name=part))
        made.append(helper.make_node("Concat", parts, [name], name=node.name, axis=axis))
        del graph.node[number]
        for own in reversed(made):
            graph.node.insert(number, own)


def _say_sizes(model: "onnx.ModelProto") -> None:
    """Give every `Split` into equal parts its sizes: what pnnx writes without ends the process."""
    from onnx import helper, numpy_helper, shape_inference

    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    inferred = shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    for node in model.graph.node:
        told = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type != "Split" or len(node.input) > 1 or "split" in told:
            continue
        axis = told["axis"].i if "axis" in told else 0
        sizes = [shapes[name][axis] if shapes.get(name) else 0 for name in node.output]
        if not all(sizes):
            raise GraphError(f"ncnn cannot run {node.name or 'a Split'}: its sizes are not known")
        if opset < 13:
            node.attribute.append(helper.make_attribute("split", sizes))
            continue
        array = numpy_helper.from_array(np.array(sizes, np.int64), f"{node.output[0]}.sizes")
        model.graph.initializer.append(array)
        node.input.append(array.name)
        if "num_outputs" in told:
            node.attribute.remove(told["num_outputs"])


def _outputs(network: "Net", image: np.ndarray, count: int) -> list[np.ndarray]:
    import ncnn

    extractor = network.create_extractor()
    # As pnnx names them; ncnn counts what nobody reads among its outputs, too.
    extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image)))
    found = [extractor.extract(f"out{number}") for number in range(count)]
    if any(code for code, _ in found):
        raise GraphError("ncnn cannot run it: it does not compute what pnnx made of it")
    # The extractor's memory goes with it.
    return [np.array(output) for _, output in found]


NCNN = Engine(
    name="ncnn",
    title=TITLE,
    load=load,
    modules=("onnx", "pnnx", "ncnn"),
    install="pip install 'yoloprune[ncnn]'",
    read=read,
    suffixes=(".onnx",),
    compared=True,
)
