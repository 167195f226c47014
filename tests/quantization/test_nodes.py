from tests.quantization.networks import depthwise_network
from yoloprune.quantization.nodes import (
    beginning,
    contractions,
    decoding,
    ending,
    heads,
    with_activation,
)


def test_where_nodes_stand() -> None:
    network = depthwise_network()
    norm = network.graph.node[1]
    norm.name = "norm"
    assert contractions(network) == ["c1", "c2", "c3"]
    assert decoding(network) == {"decode"}
    assert heads(network) == {"c3"}
    assert beginning(network, 0) == set()
    assert beginning(network, 2) == {"c1", "norm", "leaky1", "c2", "leaky2"}
    assert ending(network, 1) == {"c3", "decode"}
    assert ending(network, 2) == {"c2", "leaky2", "c3", "decode"}
    assert with_activation(network, "c2") == {"c2", "leaky2"}
    assert with_activation(network, "c1") == {"c1"}  # The norm alone reads it.
