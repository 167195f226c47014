from pathlib import Path

import pytest

from tests.frontends.onnx.models import loaded, residual
from yoloprune.errors import UsageError
from yoloprune.frontends.onnx.document import OnnxDocument


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("{0: 'hand', 1: 'foot'}", ("hand", "foot")),
        ('["hand", "foot"]', ("hand", "foot")),
        ('{"0": "hand", "1": "foot"}', ("hand", "foot")),
        ("__import__('os')", None),
        ("7", None),
    ],
)
def test_names_of_classes_are_read_as_programs_write_them(
    said: str, names: tuple[str, ...] | None, tmp_path: Path
) -> None:
    proto = residual()
    (own,) = (entry for entry in proto.metadata_props if entry.key == "names")
    own.value = said
    assert loaded(proto, tmp_path).document.names == names


def test_layers_are_the_nodes(tmp_path: Path) -> None:
    network = loaded(residual(), tmp_path)
    rows = {row.name: row for row in network.document.layers(network.graph)}
    assert list(rows) == [node.name for node in network.graph.nodes]
    third = rows["third"]
    assert (third.type, third.sources, third.in_channels) == ("Conv", ("relu2",), 16)
    assert (third.shape, third.macs, third.params) == ((1, 24, 16, 16), 24 * 16 * 256, 24 * 16 + 24)
    assert network.document.layer("third") == "third"


def test_another_format_is_refused(tmp_path: Path) -> None:
    network = loaded(residual(), tmp_path)
    assert isinstance(network.document, OnnxDocument)
    assert (network.document.suffix, network.document.header_bytes) == (".onnx", 0)
    assert network.document.source == (tmp_path / "net.onnx",)
    assert network.document.unread().source == ()
    with pytest.raises(UsageError, match=r"net\.cfg: an ONNX network is written as an \.onnx"):
        network.save(tmp_path / "net.cfg")
