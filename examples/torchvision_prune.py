"""Prune a classifier of torchvision: torchvision_prune.py [NAME]

NAME is resnet50 by default, or another classifier that `torchvision.models.get_model` knows. Needs
`pip install 'yoloprune[modules]' torchvision` (BSD-3-Clause). Give your own weights where a trained
one is wanted.
"""

import sys

import torch
import torchvision

import yoloprune


def main(name: str) -> None:
    """Load, prune to 60% of the MACs, save, rebuild from the definition."""
    module = torchvision.models.get_model(name, weights=None).eval()
    image = torch.rand(1, 3, 224, 224)
    dense = yoloprune.load_module(module, image)
    cut = yoloprune.prune(dense, {"macs": 0.6})
    print(cut)
    slim = cut.apply(module)
    cut.save_module(slim, f"{name}.safetensors")
    again = torchvision.models.get_model(name, weights=None)
    again = yoloprune.load_slim(again, f"{name}.safetensors").eval()
    print("same:", torch.equal(again(image), slim(image)))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "resnet50")
