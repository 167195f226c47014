import json
from pathlib import Path

import pytest
import torch

from tests.pruning.weights.tiny import FIRST, GRAPH, masks
from tests.random_networks import random_state
from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.weights.mask_file import read_masks, write_masks
from yoloprune.pruning.weights.masks import (
    Pattern,
    apply_masks,
)


def test_masks_survive_their_file(tmp_path: Path) -> None:
    made = masks(0.9, scope=Scope.LAYER, pattern=Pattern.ONE_BY_FOUR, exclude=("heads",))
    path = tmp_path / "masks.json"
    write_masks(path, made)
    read = read_masks(path, GRAPH)
    assert (read.settings, read.digest()) == (made.settings, made.digest())
    assert all(torch.equal(read.kept[index], mask) for index, mask in made.kept.items())
    other = yolov3_tiny(classes=2, width=0.125, size=(64, 64))
    with pytest.raises(PlanError, match="made for another network"):
        read_masks(path, lower(other))
    with pytest.raises(PlanError, match="made for another network"):
        apply_masks(lower(other), parameters(random_state(other, 1, torch.float32)), made)


def test_damaged_masks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.json"
    write_masks(path, masks(0.9))
    whole = json.loads(path.read_text())
    kernel = whole["kernels"][FIRST]
    for changed, words in (
        ({"version": 2}, "version must be 3, but is 2"),
        ({"settings": whole["settings"] | {"sparsity": 0.8}}, "checksum"),
        ({"settings": whole["settings"] | {"exclude": ["heads"]}}, "checksum"),
        ({"settings": whole["settings"] | {"sparsity": 10**400}}, "sparsity must be a number"),
        (
            {"kernels": {FIRST: kernel | {"shape": [float("inf"), 3, 3, 3]}}},
            "kernels.layer_0.kernel.shape.0 must be a whole",
        ),
        ({"sha256": "0" * 64}, "checksum"),
        ({"kernels": {}}, "checksum"),
        ({"kernels": []}, "kernels must be an object"),
        ({"kernels": {"layer_99.kernel": kernel}}, "the mask of layer_99.kernel"),
        ({"kernels": {FIRST: kernel | {"shape": [1]}}}, "bytes of bits"),
        ({"kernels": {FIRST: kernel | {"shape": []}}}, "bytes of bits"),
        ({"kernels": {FIRST: kernel | {"shape": [-1, -2]}}}, "bytes of bits"),
        ({"kernels": {FIRST: kernel | {"bits": "*"}}}, "base64"),
        ({"settings": {"scope": "all"}}, "settings.sparsity is missing"),
        ({"settings": whole["settings"] | {"sparsity": 2}}, r"\[0, 1\)"),
    ):
        path.write_text(json.dumps(whole | changed))
        with pytest.raises(PlanError, match=words):
            read_masks(path, GRAPH)
    for text in ("", "[", "[]", "7"):
        path.write_text(text)
        with pytest.raises(PlanError, match="damaged, or of another version"):
            read_masks(path, GRAPH)
    with pytest.raises(PlanError, match="cannot read"):
        read_masks(tmp_path / "none.json", GRAPH)
