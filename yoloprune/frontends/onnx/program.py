"""What other libraries do with a model from outside: a program of its own.

ONNX Runtime runs it and tells the shapes of its values; onnx writes its functions out and converts
it to newer operators. A file may ask for any memory and time, or bring a library down; so all this
is in a process that may take no more than it is given. This imports nothing of the package, and is
run by its path, with the model as its input and a request in JSON as its only argument.
"""

import json
import sys
from typing import Any

import numpy as np


def main() -> None:
    """Answer one request: a JSON list, or null, or a model, on standard output.

    What is wrong with a model goes to standard error, with exit code 1.
    """
    request = json.loads(sys.argv[1])
    _limit(request["bytes"])
    data = sys.stdin.buffer.read()
    if "feeds" in request:
        json.dump(observe(data, request["folder"], request["feeds"]), sys.stdout)
        return
    try:
        sys.stdout.buffer.write(convert(data, request["opset"]))
    except Exception as error:
        # onnx has an exception of its own for each of its parts.
        sys.exit(str(error) or type(error).__name__)


def convert(data: bytes, opset: int) -> bytes:
    """The model with its functions written out, in an opset that is not older than this one."""
    import onnx
    from onnx import inliner, version_converter

    model = onnx.ModelProto.FromString(data)
    if model.functions:
        model = inliner.inline_local_functions(model)
    own = {entry.domain: entry.version for entry in model.opset_import}
    if own.get("", own.get("ai.onnx", opset)) < opset:
        model = version_converter.convert_version(model, opset)
    return bytes(model.SerializeToString())


def _limit(most: int) -> None:
    try:
        import resource
    except ImportError:
        return  # Windows has no such limits.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def observe(data: bytes, folder: str, feeds: list[dict[str, Any]]) -> list[Any] | None:
    """The number of the first feeds with which a model runs, and the shapes that its values have.

    Feeds give shape and dtype of each input by name. None where it runs with none.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # Which would take twice as much as is needed.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    model, names = _told(data)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for number, own in enumerate(feeds):
        try:
            found = session.run(list(names), {name: _noise(*kind) for name, kind in own.items()})
        except Exception:
            # onnxruntime has an exception of its own for each kind of fault.
            continue
        pairs = zip(names.values(), found, strict=True)
        return [number, {name: array.tolist() for name, array in pairs}]
    return None


def _told(data: bytes) -> tuple[bytes, dict[str, str]]:
    """The model with an output that tells the shape of each value, and which tells that of which.

    Sequences and the like have none.
    """
    import onnx

    model = onnx.ModelProto.FromString(data)
    odd = set()
    try:
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
            if not value.type.HasField("tensor_type"):
                odd.add(value.name)
    except Exception:
        # What cannot be inferred is tried all the same.
        pass
    names = {}
    given = [name for node in model.graph.node for name in node.output]
    for number, name in enumerate(dict.fromkeys(given)):
        if name and name not in odd:
            names[own := f"yoloprune.shape.{number}"] = name
            model.graph.node.append(onnx.helper.make_node("Shape", [name], [own]))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model.SerializeToString(), names


def _noise(shape: list[int], dtype: str) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(0).random(shape)
    return (noise * 2 if dtype.startswith(("int", "uint")) else noise).astype(dtype)


if __name__ == "__main__":
    main()
