"""Prune a module of your own, train it on, save it, load it again: module_train.py [FOLDER]

Needs `pip install 'yoloprune[modules]'`. The data are noise of two kinds, made here.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import yoloprune


class Net(nn.Module):
    """What you have: any module that torch.export follows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.SiLU())
        self.score = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 2) of images (B, 3, H, W)."""
        x = self.stem(x)
        return self.score((x + self.body(x)).mean((2, 3)))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, kinds: Tensor) -> float:
    """One pass in batches of 16; gives the last loss."""
    net.train()
    for part, wanted in zip(images.split(16), kinds.split(16), strict=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(part), wanted)
        loss.backward()
        optimizer.step()
    return loss.item()


def main(folder: Path) -> None:
    """Train, prune in the middle of it, train on with the same optimizer, save and load."""
    torch.manual_seed(0)
    kinds = torch.arange(128) % 2
    images = torch.rand(128, 3, 32, 32) * (1 + kinds[:, None, None, None])
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    print("dense:", train(net, optimizer, images, kinds))

    dense = yoloprune.load_module(net, images[:1])
    cut = yoloprune.prune(dense, {"macs": 0.5}, calibration=images, multiple_of=1)
    print(cut)
    # Parameters are other ones now. Without `optimizer=` it would go on training the old ones,
    # which nothing reads any more, and say nothing.
    cut.apply(net, optimizer=optimizer)
    print("slim:", train(net, optimizer, images, kinds))

    folder.mkdir(parents=True, exist_ok=True)
    cut.save_module(net, folder / "slim.safetensors")
    again = yoloprune.load_slim(Net(), folder / "slim.safetensors").eval()
    torch.onnx.export(again, (images[:1],), folder / "slim.onnx", dynamo=True, verbose=False)
    print("same:", torch.equal(again(images), net.eval()(images)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "slim-module"))
