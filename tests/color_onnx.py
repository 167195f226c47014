"""The detector of painted cells (`color_detector`) as YOLOX's exporter would write it."""

import numpy as np
import onnx

from tests.color_detector import CELL, color_state
from tests.frontends.onnx.models import Shape, model, node

CLASSES = 2


def color_onnx(size: Shape = (1, 3, 32, 32)) -> onnx.ModelProto:
    """It reads BGR of 0 to 255 and gives (1, N, 7): heads of strides 8, 16 and 32, raw.

    The first head sees; the others are sure of nothing. The file says nothing of itself.
    """
    seeing = color_state()[0]
    arrays = {
        "kernel8": seeing.kernel.numpy()[:, ::-1] / np.float32(255),
        "bias8": seeing.bias.numpy().copy(),
        "cut": np.array([4, 1 + CLASSES]),
        "row": np.array([0, 5 + CLASSES, -1]),
    }
    # The middle of the cell; its size is the stride's, e^0 times.
    arrays["bias8"][:2] = 0.5
    for stride in (16, 32):
        arrays[f"kernel{stride}"] = np.zeros((7, 3, 1, 1), np.float32)
        arrays[f"bias{stride}"] = np.float32([0.5, 0.5, 0, 0, -30, -30, -30])
    nodes = []
    for stride in (CELL, 16, 32):
        reads = ["x", f"kernel{stride}", f"bias{stride}"]
        nodes.append(
            node("Conv", reads, [f"map{stride}"], name=f"head{stride}", strides=[stride] * 2)
        )
        nodes.append(node("Reshape", [f"map{stride}", "row"], [f"rows{stride}"]))
    nodes += [
        node("Concat", [f"rows{stride}" for stride in (CELL, 16, 32)], ["all"], axis=2),
        node("Split", ["all", "cut"], ["places", "scores"], axis=1),
        node("Sigmoid", ["scores"], ["sure"]),
        node("Concat", ["places", "sure"], ["columns"], axis=1),
        node("Transpose", ["columns"], ["output"], perm=[0, 2, 1]),
    ]
    made = model(
        nodes, arrays, inputs={"x": size}, outputs={"output": (size[0], "boxes", 5 + CLASSES)}
    )
    del made.metadata_props[:]
    return made
