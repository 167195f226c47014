"""What recovery holds: as much as is said, and no more however many images there are."""

import pytest

from tests.pruning.memory import PeakOfTensors
from tests.pruning.networks import slim_of
from tests.pruning.plans import random_plan
from tests.pruning.recover.convolutions import CFG, images_of, network
from tests.random_networks import random_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.recover.memory import images_at_once, memory_needed
from yoloprune.pruning.recover.network import Recovery, recover

SMALL_MAPS = yolov3_tiny(classes=2, width=0.25, size=(96, 96))
LARGE_MAPS = yolov3_tiny(classes=2, width=0.0625, size=(224, 224))
FEW_LAYERS = parse_cfg(CFG.format(groups=1, activation="leaky").replace("=12\n", "=192\n"))


def peak_of(spec: NetworkSpec, count: int, recovery: Recovery) -> tuple[int, int]:
    """What is held at most while so many images recover a network; what it was said to be."""
    state = {name: tensor.float() for name, tensor in parameters(random_state(spec)).items()}
    dependencies = network(spec)
    plan = random_plan(dependencies, 0)
    slim = slim_of(dependencies, state, plan)
    images = images_of(dependencies, count).float()
    with PeakOfTensors() as tensors:
        recover(dependencies, state, plan, slim, images, recovery=recovery)
    networks = sum(tensor.nbytes for own in (state, slim[1]) for tensor in own.values())
    return tensors.peak, networks + memory_needed(dependencies, slim[0], count)


@pytest.mark.parametrize(("spec", "count"), [(SMALL_MAPS, 8), (LARGE_MAPS, 16)])
def test_the_memory_is_about_what_was_said(spec: NetworkSpec, count: int) -> None:
    peaks, said = zip(*(peak_of(spec, count, recovery) for recovery in Recovery), strict=True)
    assert max(peaks) < 1.2 * said[0] and said[0] < 2 * max(peaks)


@pytest.mark.parametrize("recovery", Recovery)
def test_more_images_need_no_more_than_the_limit(
    recovery: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, dependencies = 40, network(FEW_LAYERS)
    limit = memory_needed(dependencies, dependencies.graph, count) // 2
    monkeypatch.setattr("yoloprune.execution.stream.LIMIT", limit)
    peak, said = peak_of(FEW_LAYERS, count, recovery)
    # The images are the caller's.
    images = count * images_of(dependencies, 1).float().nbytes
    assert peak - images < 1.2 * said and said <= limit


def test_batches_are_as_large_as_the_limit_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    dependencies = network(LARGE_MAPS)
    for limit in (0, 50_000_000, 100_000_000):
        monkeypatch.setattr("yoloprune.execution.stream.LIMIT", limit)
        found = images_at_once(dependencies, dependencies.graph, 100)
        assert found % 8 == 0 and (found == 8) == (limit == 0)
        needed = memory_needed(dependencies, dependencies.graph, 100)
        assert needed <= limit or not limit
    monkeypatch.undo()
    assert images_at_once(dependencies, dependencies.graph, 100) == 100
