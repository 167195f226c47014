"""Networks of both doors without some of their blocks, and folders that say so."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.frontends.onnx.models import loaded, residual
from tests.random_networks import network_specs, random_state
from yoloprune.data.calibration import proof_images
from yoloprune.errors import PlanError, VerificationError
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.document import model as darknet_model
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg, read_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.graph.edits import Reading
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.recover.errors import outputs_on
from yoloprune.pruning.verification import random_images
from yoloprune.workflows import depth
from yoloprune.workflows.depth import (
    block_order,
    blocks_in_order,
    errors_without,
    removable,
    shorten,
)
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover
from yoloprune.workflows.verify import verify

CONV = "[convolutional]\nbatch_normalize=1\nfilters={0}\nsize=3\nstride=1\npad=1\nactivation={1}\n"
CFG = (
    "[net]\nheight=32\nwidth=32\nchannels=3\n"
    + CONV.format(16, "leaky")  # 0
    + CONV.format(24, "leaky")  # 1
    + CONV.format(16, "linear")  # 2
    + "[shortcut]\nfrom=-3\nactivation=linear\n"  # 3
    + CONV.format(8, "leaky")  # 4
    + CONV.format(16, "linear")  # 5
    + "[shortcut]\nfrom=3\nactivation=linear\n"  # 6
    + CONV.format(16, "leaky")  # 7
    + "[shortcut]\nfrom=-2\nactivation=leaky\n"  # 8
    + "[route]\nlayers=-1,2,-6\n"  # 9
    + "[convolutional]\nfilters=21\nsize=1\nstride=1\nactivation=linear\n"  # 10
    + "[yolo]\nmask=3,4,5\nanchors=1,1,2,2,3,3,4,4,5,5,6,6\nclasses=2\nnum=6\n"
)


def residual_network() -> Model:
    spec = parse_cfg(CFG)
    return darknet_model(spec, random_state(spec), title="net", names=("a", "b"))


def test_references_of_a_cfg_follow_and_opencv_computes_the_same(tmp_path: Path) -> None:
    network = residual_network()
    # The first block's last layer is read elsewhere too, and the third sum is no plain one.
    assert [own.name for own in removable(network)] == ["layer_6.sum_0"]
    (block,) = removable(network)
    short = shorten(network, [block.reading], proof_images(network, None, torch.device("cpu")))
    assert short.proof.passed and short.proof.values > 10
    short.network.save(tmp_path / "short.cfg")
    spec = read_cfg(tmp_path / "short.cfg")
    assert [layer.section.name for layer in spec.layers] == [
        *("convolutional", "convolutional", "convolutional", "shortcut", "convolutional"),
        *("shortcut", "route", "convolutional", "yolo"),
    ]
    assert spec.layers[6].section.options[0].value == "-1,2,-3"
    assert spec.layers[6].sources == (5, 2, 3)
    assert darknet(short.network).names == ("a", "b")
    # OpenCV reads the file; its maps are those of the dense network whose sum adds zeros.
    net = cv2.dnn.readNetFromDarknet(str(tmp_path / "short.cfg"), str(tmp_path / "short.weights"))
    (image,) = random_images(network.graph).values()
    net.setInput(image.float().numpy())
    layers = net.getLayerNames()
    given = net.forward(next(name for name in reversed(layers) if name.startswith("conv")))
    silent = {name: array.clone() for name, array in network.parameters.items()}
    for array in ("scale", "bias"):
        silent[f"layer_5.{array}"].zero_()
    (wanted,) = outputs(network.graph, silent, {"images": image.float()})
    assert np.allclose(given, wanted.numpy(), atol=1e-4)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    spec=network_specs(blocks=("conv", "residual", "residual", "shortcut", "shortcut", "route")),
    number=st.integers(0, 2**16),
)
def test_blocks_of_random_networks_go(spec: NetworkSpec, number: int) -> None:
    network = darknet_model(spec, random_state(spec, number), title="net")
    found = removable(network)
    assume(found)
    # One term of each sum.
    gone = {own.name: own.reading for own in random.Random(number).sample(found, len(found))}
    short = shorten(network, list(gone.values()), random_images(network.graph))
    assert short.proof.passed
    left = darknet(short.network).spec
    assert parse_cfg(format_cfg(left)).digest() == left.digest()


def test_a_sum_whose_term_is_further_back_becomes_a_route() -> None:
    # Layer 1 stays, as another reads it: behind it a route leads back to layer 0.
    spec = parse_cfg(CFG.replace("layers=-1,2,-6", "layers=-1,1,-6"))
    network = darknet_model(spec, random_state(spec), title="net")
    first = removable(network)[0]
    assert first.name == "layer_3.sum_0"
    short = shorten(network, [first.reading], random_images(network.graph)).network
    routes = [
        (layer.section.options[0].value, layer.sources)
        for layer in darknet(short).spec.layers
        if layer.section.name == "route"
    ]
    assert routes == [("-2", (0,)), ("-1,1,-6", (7, 1, 2))]


def test_a_block_within_a_block_goes_with_it() -> None:
    # The outer sum adds what the inner one gives to what both begin with.
    spec = parse_cfg(
        "[net]\nheight=16\nwidth=16\nchannels=3\n"
        + 3 * CONV.format(8, "leaky")
        + "[shortcut]\nfrom=-2\nactivation=linear\n[shortcut]\nfrom=0\nactivation=linear\n"
        + "[convolutional]\nfilters=4\nactivation=linear\n"
    )
    network = darknet_model(spec, random_state(spec), title="net")
    gone = [own.reading for own in removable(network) if own.reading[1] == 0]
    assert [name for name, _ in gone] == ["layer_3.sum_0", "layer_4.sum_0"]
    short = shorten(network, gone, random_images(network.graph))
    assert short.proof.passed
    layers = darknet(short.network).spec.layers
    assert [layer.section.name for layer in layers] == ["convolutional", "convolutional"]


@pytest.mark.parametrize(("door", "share"), [("darknet", 0.5), ("onnx", 0.25)])
def test_blocks_and_channels_are_cut_and_fitted_and_verified_from_the_folder(
    door: str, share: float, tmp_path: Path, photos: Path
) -> None:
    network = residual_network() if door == "darknet" else loaded(residual(), tmp_path)
    if door == "darknet":
        network.save(tmp_path / "dense.cfg")
    gone = [removable(network)[0].reading]
    cut = prune(network, {"macs": share}, blocks=gone, multiple_of=1)
    assert cut.origin is network
    assert 0.8 * share * network.cost.macs < cut.slim.cost.macs <= share * network.cost.macs
    assert cut.slim.document.title == "net-slim"
    assert any("without 1 block (before the sums" in line for line in cut.shown().lines)
    recovered = recover(cut, photos, calibration_images=8)
    assert recovered.recovery is not None
    heads = recovered.recovery["heads"]
    assert heads["after"][0] < heads["before"][0]
    recovered.save(tmp_path / "slim")
    report = json.loads((tmp_path / "slim" / "report.json").read_text())
    assert report["depth"]["before"]["macs"] == network.cost.macs
    assert report["depth"]["blocks"] == [list(gone[0])]
    again = read_cut(tmp_path / "slim", network)
    assert again.plan.blocks == tuple(gone) and again.shortened is not None
    shown = verify(network, tmp_path / "slim").shown()
    assert "verified" in shown.summary and shown.document["depth"]["relative_error"] < 1e-12
    assert any(line.startswith("without 1 block (before the sums") for line in shown.lines)
    plan = json.loads((tmp_path / "slim" / "plan.json").read_text())
    plan["blocks"] = []
    (tmp_path / "slim" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises((PlanError, VerificationError)):
        read_cut(tmp_path / "slim", network)


def chained(factors: Mapping[int, float]) -> Model:
    """Blocks one after the other, the last batch norm of each, by section, times a factor."""
    spec = parse_cfg(
        "[net]\nheight=16\nwidth=16\nchannels=3\n"
        + CONV.format(8, "leaky")
        + "".join(
            CONV.format(8, "leaky")
            + CONV.format(8, "linear")
            + "[shortcut]\nfrom=-3\nactivation=linear\n"
            for _ in factors
        )
        + "[convolutional]\nfilters=4\nactivation=linear\n"
    )
    state = random_state(spec)
    for layer, factor in factors.items():
        scale = state[layer].scale
        assert scale is not None
        scale.mul_(factor)
        state[layer].bias.mul_(factor)
    return darknet_model(spec, state, title="net")


def test_blocks_go_in_the_order_of_what_they_do_to_the_outputs() -> None:
    network = chained({2: 1.0, 5: 1e-3, 8: 0.1})
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    order = block_order(network, images, 2)
    assert [name for name, _ in order] == ["layer_6.sum_0", "layer_9.sum_0"]
    one, two = errors_without(network, [order[:1], order], images)
    assert 0 < one < 0.05 * two
    # What takes the longest goes first, however much it computes.
    slow = dict.fromkeys(removable(network)[0].nodes, 1e9)
    assert block_order(network, images, 1, slow) == (removable(network)[0].reading,)
    plain = parse_cfg(CFG.split("[shortcut]")[0])
    with pytest.raises(PlanError, match="no residual block and no branch that can go"):
        block_order(darknet_model(plain, random_state(plain), title="net"), images, 1)


def test_the_cheapest_block_of_all_goes_though_few_are_weighed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = chained({2: 0.3, 5: 1e-3, 8: 0.1, 11: 1.0, 14: 0.03})
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    left = [block.reading for block in removable(network)]
    wanted: list[Reading] = []
    while left:
        errors = errors_without(network, [[*wanted, own] for own in left], images)
        wanted.append(left.pop(errors.index(min(errors))))
    passes = []

    def counted(*given: Any) -> list[torch.Tensor]:
        passes.append(given)
        return outputs_on(*given)

    monkeypatch.setattr(depth, "outputs_on", counted)
    order = blocks_in_order(network, images)
    assert passes == []
    found = [next(order)]
    assert len(passes) == 1 + 5
    found.extend(order)
    assert found == wanted
    assert len(passes) < 1 + 5 + 4 + 3 + 2 + 1
