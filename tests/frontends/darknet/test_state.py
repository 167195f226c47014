import torch

from yoloprune.frontends.darknet.state import ConvParameters


def test_arrays_come_in_the_order_of_a_file() -> None:
    """darknet's parser.c: biases, scales, means, variances, weights."""
    one = torch.zeros(1)
    whole = ConvParameters(kernel=one, bias=one, scale=one, mean=one, variance=one)
    assert [name for name, _ in whole.items()] == ["bias", "scale", "mean", "variance", "kernel"]
    plain = ConvParameters(kernel=one, bias=one)
    assert [name for name, _ in plain.items()] == ["bias", "kernel"]
