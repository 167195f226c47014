"""Asking the program that runs other libraries on models from outside."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.errors import GraphError

if TYPE_CHECKING:
    import onnx

SECONDS = 60
"""That a conversion may take."""

LEAST_BYTES, TIMES = 1 << 30, 8
"""Memory that one may take: so much, and so many times the bytes of the model."""


def answer(model: bytes, request: Mapping[str, object], seconds: float) -> bytes:
    """What the program answers; raises `OSError` or `SubprocessError` where it does not."""
    # By its path and with -P: nothing that lies about is imported.
    program = [sys.executable, "-P", str(Path(__file__).with_name("program.py"))]
    return subprocess.run(
        [*program, json.dumps(request)],
        input=model,
        capture_output=True,
        timeout=seconds,
        check=True,
    ).stdout


def converted(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    """A model with its functions written out, in an opset that is not older than this one.

    Raises `GraphError` with what onnx says of one with which it cannot do that.
    """
    data = model.SerializeToString()
    request = {"opset": opset, "bytes": LEAST_BYTES + TIMES * len(data)}
    result = type(model)()
    try:
        result.ParseFromString(answer(data, request, SECONDS))
        return result
    except (subprocess.SubprocessError, OSError) as error:
        told: bytes = getattr(error, "stderr", None) or b""
        first = next(iter(told.decode(errors="replace").strip().splitlines()), "it is damaged")
        what = "its functions cannot be written out" if model.functions else "it cannot be read"
        raise GraphError(f"{what} in opset {opset}: {first}") from error
