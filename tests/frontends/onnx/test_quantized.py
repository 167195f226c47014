"""Quantized files keep their whole numbers: kernels, scales and zero points are cut alike."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from tests.frontends.onnx.models import free, loaded, node, slimmed, two_convs, weights, written
from tests.pruning.plans import random_plan
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.model import Model
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.masked import masked


class _Noise(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = list(np.random.default_rng(0).random((3, 1, 3, 8, 8)).astype(np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"x": self.left.pop()} if self.left else None


def quantized(folder: Path, *, per_channel: bool, form: QuantFormat = QuantFormat.QDQ) -> Path:
    """A network as ONNX Runtime quantizes it: a depthwise kernel and a grouped shortcut in it."""
    middle = [
        node("Relu", ["a"], ["r"], name="relu"),
        node("Conv", ["r", "w3", "c3"], ["d"], name="depthwise", group=8, pads=[1] * 4),
        node("Relu", ["d"], ["e"], name="relu_d"),
        node("Add", ["e", "r"], ["b"], name="shortcut"),
    ]
    arrays = {"w3": weights(8, 1, 3, 3), "c3": weights(8)}
    onnx.save_model(two_convs(middle, arrays=arrays), folder / "float.onnx")
    path = folder / "coded.onnx"
    quantize_static(
        folder / "float.onnx",
        path,
        _Noise(),
        quant_format=form,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
def test_whole_numbers_are_cut_with_their_scales(per_channel: bool, tmp_path: Path) -> None:
    network = read(quantized(tmp_path, per_channel=per_channel))
    # Kernels and biases count as in float, and the scales beside them.
    plain = read(tmp_path / "float.onnx").cost.params
    assert plain < network.cost.params < 1.3 * plain
    slim, found, dependencies = slimmed(network)
    assert found.passed, found
    assert free(dependencies) == {"first", "depthwise"}
    after = {t.name: t for t in written(slim, tmp_path).graph.initializer}
    left = after["w1_quantized"].dims[0]
    assert left < 8
    assert after["w1_quantized"].data_type == after["w3_quantized"].data_type == TensorProto.INT8
    assert list(after["w3_quantized"].dims) == [left, 1, 3, 3]
    assert list(after["w2_quantized"].dims) == [4, left, 1, 1]
    assert after["c1_quantized"].data_type == TensorProto.INT32
    for name in ("w1_scale", "w3_zero_point", "c1_quantized_scale"):
        assert np.prod(after[name].dims) == (left if per_channel else 1), name
    assert np.prod(after["w2_scale"].dims) == (4 if per_channel else 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
def test_slim_quantized_files_compute_what_masked_ones_do(
    per_channel: bool, tmp_path: Path
) -> None:
    network = read(quantized(tmp_path, per_channel=per_channel))
    dependencies = analyze(network.graph)
    plan = random_plan(dependencies, 0)
    graph, parameters = masked(dependencies, network.parameters, plan)
    silent = Model(graph=graph, parameters=parameters, document=network.document.saying(graph))
    options = onnxruntime.SessionOptions()
    # Optimized, it computes with whole numbers in the one and with real ones in the other.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    x = np.random.default_rng(1).random((1, 3, 8, 8)).astype(np.float32)
    found, expected = (
        onnxruntime.InferenceSession(
            written(own, tmp_path).SerializeToString(), options, providers=["CPUExecutionProvider"]
        ).run(None, {"x": x})[0]
        for own in (network.edited(cut(dependencies, plan)), silent)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_operators_on_whole_numbers_freeze_what_they_read_by_name(tmp_path: Path) -> None:
    path = quantized(tmp_path, per_channel=False, form=QuantFormat.QOperator)
    dependencies = analyze(read(path).graph)
    assert not dependencies.prunable


@pytest.mark.parametrize("dtype", [TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT8E4M3FN])
def test_codes_that_torch_has_not_are_cut_too(dtype: int, tmp_path: Path) -> None:
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    codes = np.random.default_rng(0).integers(0, 8, (7, 8, 3, 3)).astype(kind)
    middle = [
        node("DequantizeLinear", ["codes", "scales"], ["kernel"], name="real", axis=0),
        node("Conv", ["a", "kernel"], ["k"], name="coded", pads=[1] * 4),
        node("Conv", ["k", "w3"], ["b"], name="third"),
    ]
    arrays = {"scales": np.linspace(0.1, 0.2, 7, dtype=np.float32), "w3": weights(8, 7, 1, 1)}
    proto = two_convs(middle, arrays=arrays, opset=21)
    proto.ir_version = 10
    proto.graph.initializer.append(numpy_helper.from_array(codes, "codes"))
    network = loaded(proto, tmp_path)
    slim, found, dependencies = slimmed(network, seed=3)
    assert found.passed, found
    assert free(dependencies) == {"first", "coded", "third"}
    (tensor,) = (t for t in written(slim, tmp_path).graph.initializer if t.name == "codes")
    assert tensor.data_type == dtype
    expected = slim.parameters["codes"].double().numpy()
    assert expected.shape[0] < 7
    np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(float), expected)
