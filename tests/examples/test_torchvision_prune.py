"""The script that prunes networks of torchvision, on definitions of our own in its place."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.classifiers import squeezenet
from tests.modules import Block, noisy, quiet
from yoloprune.workflows.modules import load_slim

EXAMPLE = Path(__file__).parents[2] / "examples" / "torchvision_prune.py"


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Block(3, 12, stride=2), Block(12, 16, stride=2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        first = self.first(images)
        return {"0": first, "1": self.second(first)}


class _Head(nn.Module):
    """As torchvision's heads are: a map a level, of so many numbers a box."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.levels = nn.ModuleList(nn.Conv2d(into, 2 * numbers, 3, 1, 1) for into in (12, 16))

    def forward(self, features: list[Tensor]) -> Tensor:
        found = []
        for level, feature in zip(self.levels, features, strict=True):
            own = level(feature)
            batch, _, height, width = own.shape
            own = own.view(batch, -1, self.numbers, height, width).permute(0, 3, 4, 1, 2)
            found.append(own.reshape(batch, -1, self.numbers))
        return torch.cat(found, 1)


class _Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.boxes, self.scores = _Head(4), _Head(3)

    def forward(self, features: list[Tensor]) -> dict[str, Tensor]:
        return {"bbox_regression": self.boxes(features), "cls_logits": self.scores(features)}


class _Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = _Backbone(), _Heads()

    def forward(self, images: list[Tensor]) -> object:
        raise AssertionError("boxes are chosen in Python")


def get_model(name: str, weights: None, **more: None) -> nn.Module:
    assert weights is None and more.keys() == ({"weights_backbone"} if name == "ssd" else set())
    return noisy(_Detector() if name == "ssd" else squeezenet(classes=5, width=0.125))


@pytest.mark.parametrize("name", ["ssd", "squeezenet1_0"])
def test_it_prunes_saves_and_rebuilds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = SimpleNamespace(
        get_model=get_model, list_models=lambda of: of, detection=["ssd", "retinanet"]
    )
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.chdir(tmp_path)
    with quiet():
        script = runpy.run_path(str(EXAMPLE))
        script["main"](name, 64)
    assert "same: True" in capsys.readouterr().out
    again = load_slim(script["defined"](name), tmp_path / f"{name}.safetensors")
    kernels = [own for own in again.modules() if isinstance(own, nn.Conv2d)]
    assert min(own.out_channels for own in kernels) < 12
