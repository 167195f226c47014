"""Layer by layer gives what the whole forward pass gives, and holds no more than it says."""

import torch
from hypothesis import given, settings

from tests.random_networks import network_specs, random_state
from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.model.network import Network
from yoloprune.model.stream import Stream, largest_outputs


@given(spec=network_specs(max_blocks=6))
@settings(max_examples=20)
def test_it_computes_the_forward_pass(spec: NetworkSpec) -> None:
    network = Network.from_state(spec, random_state(spec))
    images = torch.rand(3, *spec.input_shape, dtype=torch.float64)
    whole: dict[int, torch.Tensor] = {}
    network(images, lambda layer, output: whole.setdefault(layer.index, output))
    stream, limits = Stream(network, [images[:2], images[2:]]), largest_outputs(spec)
    for layer, limit in zip(spec.layers, limits, strict=True):
        for parts in zip(layer.sources, *(stream.inputs(layer, n) for n in range(2)), strict=True):
            source, found = parts[0], torch.cat(parts[1:])
            expected = images if source < 0 else whole[source]
            assert torch.allclose(found, expected, atol=1e-12)
        held = sum(output[0].numel() for output in stream._outputs[0].values())
        assert held <= limit
        for chunk in range(2):
            if isinstance(layer, Conv):
                stream.finish(layer, chunk, stream.convolve(layer, chunk))
            else:
                stream.run(layer, chunk)
