import pytest
import torch
import torch.nn.functional as F

from tests.pruning.recover.convolutions import CFG, network
from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.pruning.layers import Layer, layers_of
from yoloprune.pruning.recover.moments import (
    gather,
    patches,
    positions_per_image,
    random_positions,
    sample_bytes,
    toward,
    values_at,
    window_values,
    windows_of,
)


def conv(groups: int = 1) -> Layer:
    """3 x 3 places of 8 channels, with a stride of 2, over 12 x 12."""
    spec = parse_cfg(CFG.format(groups=groups, activation="leaky"))
    return layers_of(network(spec))["layer_1.conv"]


@pytest.mark.parametrize("groups", [1, 2])
def test_patches_are_torch_s_own_windows(groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 8, 12, 12, generator=generator)
    positions = random_positions(2, (6, 6), 36, generator)
    found = patches(inputs, conv(groups), positions)
    unfolded = F.unfold(inputs, 3, padding=1, stride=2).transpose(1, 2)  # (B, P, C k)
    rows = torch.stack(
        [own[places] for own, places in zip(unfolded, positions.places, strict=True)]
    )
    expected = rows.reshape(72, groups, -1).transpose(0, 1)
    assert torch.equal(found[..., :-1], expected.double())
    assert (found[..., -1] == 1).all()
    outputs = torch.randn(2, 8, 6, 6, generator=generator)
    values = values_at(outputs, conv(groups), positions)
    flat = outputs.flatten(2).transpose(1, 2)
    rows = torch.stack([flat[n, places] for n, places in enumerate(positions.places)])
    assert torch.equal(values, rows.reshape(72, groups, -1).transpose(0, 1).double())


def test_places_of_an_image_are_different_ones() -> None:
    positions = random_positions(3, (4, 5), 20, torch.Generator().manual_seed(0))
    assert all(sorted(own) == list(range(20)) for own in positions.places.tolist())
    rows, columns = positions.axes
    assert torch.equal(5 * rows + columns, positions.places)


def test_chunks_add_up_to_the_sums_of_all_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 50, 37, dtype=torch.float64, generator=generator)
    u[..., -1] = 1
    y = torch.randn(2, 50, 4, dtype=torch.float64, generator=generator)
    layer = conv(2)
    assert window_values(layer) == 36
    found = gather(layer, [(u[:, :20], y[:, :20]), (u[:, 20:], y[:, 20:])])
    torch.testing.assert_close(found.gram, u.mT @ u)
    torch.testing.assert_close(found.cross, y.mT @ u)
    torch.testing.assert_close(found.variation(), 49 * y.var(dim=1))
    assert found.count == 50
    other = toward(found, [(u[:, :20], 2 * y[:, :20]), (u[:, 20:], 2 * y[:, 20:])])
    torch.testing.assert_close(other.cross, 2 * found.cross)
    torch.testing.assert_close(other.energy, 4 * found.energy)
    assert other.gram is found.gram and other.count == 50
    later = toward(found, [(u[:, 20:], 2 * y[:, 20:])], toward(found, [(u[:, :20], 2 * y[:, :20])]))
    torch.testing.assert_close(later.cross, other.cross)
    torch.testing.assert_close(later.energy, other.energy)
    with pytest.raises(WeightsError, match=r"layer_1\.conv: what it reads or gives"):
        gather(layer, [(u * float("inf"), y)])


def test_what_a_sample_takes_and_how_many_there_are() -> None:
    layer = conv()
    assert windows_of(layer).sizes == (6, 6)
    assert window_values(layer) == 8 * 9
    # u of 73 numbers in float32 and twice in float64, and 8 of y.
    assert sample_bytes(layer) == 73 * (4 + 8 + 8) + 8 * 8
    # All places of a small map, 256 of the 40 x 40 of a larger one.
    assert positions_per_image(layer, 64) == 36
    large = CFG.format(groups=1, activation="leaky").replace("=12\n", "=80\n")
    layer = layers_of(network(parse_cfg(large)))["layer_1.conv"]
    # Of many images fewer, so that all are bounded; one at least.
    assert [positions_per_image(layer, n) for n in (1, 512, 2869, 10**6)] == [256, 256, 45, 1]
