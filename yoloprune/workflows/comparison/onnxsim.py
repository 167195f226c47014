"""onnxsim: simplifies ONNX files, and removes channels between two convolutions."""

from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.workflows.comparison.foreign import elsewhere
from yoloprune.workflows.comparison.tool import Tool

if TYPE_CHECKING:
    import onnx


def thin(dense: Path, share: float, multiple_of: int) -> "onnx.ModelProto":
    """The file simplified, which folds batch norms, and this share of channels removed.

    That is of each pair of layers that it knows; it rounds nothing.
    """
    import onnx
    import onnxsim

    simple, _ = onnxsim.simplify(onnx.load(dense))
    thinned: onnx.ModelProto = onnxsim.apply_structured_pruning(simple, sparsity=share)
    return thinned


ONNXSIM = Tool(
    name="onnxsim",
    about="apply_structured_pruning of the simplified file",
    make=elsewhere(thin),
    modules=("onnx", "onnxsim"),
    install="pip install onnxsim",
)
