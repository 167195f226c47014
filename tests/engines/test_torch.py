import torch

from tests.engines.tiny import IMAGES, MODEL, SPEC, STATE, agree, maps
from tests.networks import network_of
from yoloprune.engines.table import run_in
from yoloprune.engines.torch import runner


def test_bfloat16_is_coarser() -> None:
    found, expected = run_in(MODEL, device="cpu", dtype=torch.bfloat16)(IMAGES), maps(IMAGES)
    agree(found, expected, 0.1)
    assert any((found[name] != expected[name]).any() for name in found)


def test_a_runner_is_a_copy_that_no_training_changes() -> None:
    network = network_of(SPEC, STATE).train()
    fast = runner(network)
    before = fast(IMAGES)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    for name, found in fast(IMAGES).items():
        assert torch.equal(found, before[name])
        assert not found.requires_grad
    assert (fast.title, fast.concurrent, network.training) == ("torch eager", True, True)
