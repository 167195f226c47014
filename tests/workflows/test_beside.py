"""What modules run beside; what comes of it is in test_trial.py."""

import torch
from torch import Tensor, nn

from yoloprune.frontends.torch.read import read
from yoloprune.workflows.beside import in_training, suspected, unheard_of
from yoloprune.workflows.modules import module_of


class _Changes(nn.Module):
    """Changes what it is called with, and runs a layer for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(2)
        self.other(x)
        return self.norm(self.first(x))


def test_what_runs_for_nothing_is_found_and_inputs_stay() -> None:
    document = module_of(read(_Changes(), torch.rand(1, 3, 4, 4)))
    before = document.inputs[0].clone()
    assert unheard_of(document) == "other"
    assert document.titled("") == "the module (_Changes)"
    assert "or of other (Conv2d), which runs and gives nothing" in suspected(document)
    training = in_training(document)
    assert training is not None and training.training and not training.norm.training
    assert torch.equal(document.inputs[0], before)
