from tests.quantization.networks import depthwise_network, images
from yoloprune.quantization.nodes import contractions
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import ranges
from yoloprune.quantization.sensitivity import Outputs, sensitivities


def test_errors_of_parts_and_of_the_whole() -> None:
    network, seen = prepared(depthwise_network()), images()
    compared = Outputs(network, seen)
    assert compared.error(network) == 0
    found = ranges(network, seen, "minmax")
    alone = sensitivities(network, found, contractions(network), compared)
    whole = compared.error(quantized(network, found, {"decode"}))
    assert len(alone) == 3 and all(0 < error < 1 for error in alone.values())
    # The channels of the first are of unlike extent, and its values have one scale.
    assert max(alone, key=alone.__getitem__) != contractions(network)[2]
    assert max(alone.values()) < whole * 1.5
