import hashlib
from pathlib import Path

import pytest
import torch

from tests.color_detector import color_spec, color_state
from tests.frontends.onnx.models import loaded, residual
from tests.pairs import SPEC, write_pair
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import DarknetDocument, model
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES
from yoloprune.graph.model import Model, raw_bytes
from yoloprune.workflows.models import load

NETWORK = model(color_spec(), color_state(), title="<cells>")
# Seven filters of three numbers and a bias, at 4 x 4 places.
PARAMS, MACS = 7 * 3 + 7, 7 * 3 * 16


def test_it_costs_what_its_layers_cost_and_a_header() -> None:
    cost = NETWORK.cost
    assert (cost.params, cost.macs) == (PARAMS, MACS)
    assert cost.weight_bytes == 4 * PARAMS + WEIGHTS_HEADER_BYTES


def test_its_digest_is_that_of_its_file(tmp_path: Path) -> None:
    read = loaded(residual(), tmp_path)
    assert read.sha256 == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()


def test_it_is_written_as_it_was_read(tmp_path: Path) -> None:
    *_, last = NETWORK.save(str(tmp_path / "out.cfg"))
    assert (last.name, last.stat().st_size) == ("out.weights", NETWORK.cost.weight_bytes)
    read = loaded(residual(), tmp_path)
    assert read.save(tmp_path / "copy.onnx") == (tmp_path / "copy.onnx",)
    again = load(tmp_path / "copy.onnx")
    assert all(torch.equal(again.parameters[name], own) for name, own in read.parameters.items())


def test_a_model_is_shown_in_a_line(tmp_path: Path) -> None:
    model = load(write_pair(tmp_path, "net"))
    assert str(model).startswith("net: batchx3x64x64 input, ")
    total = cost(SPEC)
    assert f"{total.params:,} parameters, {total.macs:,} MACs" in repr(model)
    assert "\n" not in str(model) and len(str(model)) < 110
    document = DarknetDocument(spec=SPEC, title="<b>")
    odd = Model(graph=model.graph, parameters=model.parameters, document=document)
    page = odd._repr_html_()
    assert "&lt;b&gt;" in page and "<b>" not in page


def test_the_digest_of_weights_does_not_need_a_file(tmp_path: Path) -> None:
    model = load(write_pair(tmp_path, "net"))
    made = Model(
        graph=model.graph,
        parameters=model.parameters,
        document=DarknetDocument(spec=SPEC, title="made"),
    )
    changed = dict(model.parameters)
    changed["layer_0.bias"] = changed["layer_0.bias"] + 1
    other = Model(graph=made.graph, parameters=changed, document=made.document)
    assert made.sha256 == made.sha256 != other.sha256


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_bytes_are_those_of_a_file_however_a_tensor_lies(dtype: torch.dtype) -> None:
    numbers = torch.arange(6).reshape(2, 3).to(dtype)
    assert raw_bytes(numbers.t()) == raw_bytes(numbers.t().contiguous())
    single = numbers[:1].t()[1:2, 0]
    # What is left of a layer whose other filters are cut away.
    assert raw_bytes(single.as_strided((1,), (90,))) == raw_bytes(single.clone())
    assert len(raw_bytes(single[0])) == single.itemsize
