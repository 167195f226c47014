import pytest
import torch

from yoloprune.frontends.darknet.curvature import curvatures
from yoloprune.frontends.darknet.parser import parse_cfg

CFG = """[net]
height=6
width=6
channels=3
[convolutional]
filters=7
size=1
activation={activation}
[yolo]
anchors=8,8
mask=0
num=1
classes=2
new_coords={new_coords}
"""


@pytest.mark.parametrize(("activation", "new_coords"), [("linear", 0), ("logistic", 1)])
def test_it_is_the_second_derivative_of_the_divergence(activation: str, new_coords: int) -> None:
    """Of the probabilities from themselves, which autograd knows; an object's box counts too.

    An object and its box count as far as it is of one of the classes.
    """
    spec = parse_cfg(CFG.format(activation=activation, new_coords=new_coords))
    ((name, weights),) = curvatures(spec).items()
    assert name == "head_1"
    values = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = values if new_coords else 4 * values - 2

    probabilities = values if new_coords else values.sigmoid()
    known = 1 - (1 - probabilities[5]) * (1 - probabilities[6])

    def divergence(changed: torch.Tensor) -> torch.Tensor:
        p, q = (x if new_coords else x.sigmoid() for x in (values, changed))
        each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        boxes = (values - changed)[:4].square().sum() / 2
        return known * (each[4] + p[4] * boxes) + p[4] * each[5:].sum()

    expected = torch.autograd.functional.hessian(divergence, values).diagonal()
    found = weights(values.reshape(1, 7, 1, 1).expand(1, 7, 6, 6))
    torch.testing.assert_close(found, expected.reshape(1, 7, 1, 1).expand(1, 7, 6, 6))


def test_other_heads_have_none() -> None:
    spec = parse_cfg(
        "[net]\nheight=6\nwidth=6\nchannels=3\n[convolutional]\nfilters=7\nactivation=linear\n"
        "[region]\nanchors=1,1\nnum=1\nclasses=2\nsoftmax=1\n"
    )
    assert curvatures(spec) == {}
