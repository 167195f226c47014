from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.color_detector import color_spec, color_state
from tests.frontends.onnx.models import loaded, residual
from tests.pairs import STATE, write_pair
from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.document import (
    DarknetDocument,
    darknet,
    for_input_size,
    layer_of,
    model,
    pair,
    state,
)
from yoloprune.workflows.models import load


def test_the_state_of_a_model_is_its_parameters(tmp_path: Path) -> None:
    model = load(write_pair(tmp_path, "net"))
    arrays = state(model.parameters)
    assert arrays.keys() == STATE.keys()
    for index, parameters in STATE.items():
        for (name, a), (other, b) in zip(parameters.items(), arrays[index].items(), strict=True):
            assert name == other and torch.equal(a, b)
    assert set(model.parameters) == set(model.graph.parameters)


NETWORK = model(color_spec(), color_state(), title="cells", names=("a b", "c"), seen=7)


def test_a_network_is_written_with_the_names_of_its_classes(tmp_path: Path) -> None:
    files = NETWORK.save(tmp_path / "net.cfg")
    assert [file.name for file in files] == ["net.cfg", "net.names", "net.weights"]
    assert (tmp_path / "net.names").read_text() == "a b\nc\n"
    with pytest.raises(UsageError, match=r"net\.onnx: a Darknet network is written as a \.cfg"):
        NETWORK.save(tmp_path / "net.onnx")


def test_other_parameters_have_seen_nothing_and_come_from_no_file() -> None:
    document = replace(darknet(NETWORK), source=(Path("net.cfg"), Path("net.weights")))
    after = document.unread()
    assert (after.seen, after.source, after.names) == (0, (), ("a b", "c"))
    assert after.digest() == document.digest()


def test_layers_are_the_sections() -> None:
    conv, head = NETWORK.document.layers(NETWORK.graph)
    assert (conv.name, conv.type, conv.sources, conv.in_channels) == (0, "convolutional", (-1,), 3)
    assert (conv.shape, conv.params, conv.macs) == ((7, 4, 4), 28, 7 * 3 * 16)
    assert (head.type, head.sources, head.macs) == ("yolo", (0,), 0)
    assert NETWORK.document.layer("layer_12.norm") == layer_of("layer_12") == 12


def test_another_input_size_keeps_the_arrays() -> None:
    wide = for_input_size(NETWORK, 64, 96)
    assert wide.graph.inputs["images"].shape == ("batch", 3, 64, 96)
    assert all(wide.parameters[name] is own for name, own in NETWORK.parameters.items())
    assert pair(wide)[0].input_shape == (3, 64, 96)


def test_a_network_that_came_through_another_door_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"net: a Darknet network \(\.cfg and \.weights\)"):
        darknet(loaded(residual(), tmp_path))
    assert isinstance(darknet(NETWORK), DarknetDocument)
