from dataclasses import replace

import torch

from yoloprune.graph.model import Model
from yoloprune.workflows.judges import error_of


def test_outputs_are_no_way_from_themselves_and_some_from_others(dense: Model) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert error_of(dense, images, dense) == 0
    changed = {name: 1.1 * array for name, array in dense.parameters.items()}
    assert error_of(dense, images, replace(dense, parameters=changed)) > 0
