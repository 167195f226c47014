"""Prune a classifier or a detector of torchvision: torchvision_prune.py [NAME]

NAME is resnet50 by default, or another one that `torchvision.models.get_model` knows, as
ssdlite320_mobilenet_v3_large: detectors with one stage, that is. Needs
`pip install 'yoloprune[modules]' torchvision` (BSD-3-Clause). Give your own weights where a trained
one is wanted.
"""

import sys
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

import yoloprune


class Maps(nn.Module):
    """A detector up to the maps of its heads: what chooses boxes of them is no graph."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """What backbone and heads give for images (B, 3, H, W)."""
        features = self.detector.backbone(images)
        return self.detector.head(list(features.values()))


def defined(name: str) -> nn.Module:
    """The module that is pruned, of random weights."""
    if name in torchvision.models.list_models(torchvision.models.detection):
        return Maps(torchvision.models.get_model(name, weights=None, weights_backbone=None))
    return torchvision.models.get_model(name, weights=None)


def main(name: str, side: int = 224) -> None:
    """Load, prune to 60% of the MACs, save, rebuild from the definition."""
    module = defined(name).eval()
    image = torch.rand(1, 3, side, side)
    dense = yoloprune.load_module(module, image)
    cut = yoloprune.prune(dense, {"macs": 0.6})
    print(cut)
    # In place: the detector that `Maps` calls is the slim one.
    slim = cut.apply(module)
    path = Path(f"{name}.safetensors")
    cut.save_module(slim, path)
    again = yoloprune.load_slim(defined(name), path).eval()
    found, wanted = (own(image) for own in (again, slim))
    if isinstance(found, dict):
        found, wanted = torch.cat([*found.values()], -1), torch.cat([*wanted.values()], -1)
    print("same:", torch.equal(found, wanted))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "resnet50")
