import numpy as np
import torch
from torch import nn

from yoloprune.frontends.torch.origins import Origin, named_tensors
from yoloprune.graph.edits import ArrayCut


def cut(**axes: list[int]) -> ArrayCut:
    return ArrayCut(blocks=({int(name[1:]): np.array(own) for name, own in axes.items()},))


PLACES = np.arange(12).reshape(3, 4).T
"""Of a transposed matrix of three rows."""


def test_a_cut_of_a_rearranged_copy_is_one_of_the_tensor() -> None:
    tensor = torch.arange(12.0).reshape(3, 4)
    origin = Origin(tensor="weight", places=PLACES)
    of_copy = cut(a0=[0, 3], a1=[1, 2])
    own = origin.cut(of_copy, (3, 4))
    assert own is not None
    assert torch.equal(own.tensor(tensor), of_copy.tensor(tensor.T).T)
    assert Origin(tensor="weight").cut(of_copy, (4, 3)) is of_copy


def test_a_cut_that_leaves_no_rectangle_of_the_tensor_is_none() -> None:
    assert Origin(tensor="weight", places=np.arange(12)).cut(cut(a0=[0, 5]), (3, 4)) is None


def test_numbers_go_to_their_places_and_back_also_after_a_cut() -> None:
    tensor = torch.rand(3, 4)
    origin = Origin(tensor="weight", places=PLACES)
    assert torch.equal(origin.read(tensor), tensor.T)
    assert torch.equal(origin.written(tensor.T * 2, tensor), tensor * 2)
    of_copy = cut(a0=[0, 3], a1=[1, 2])
    left = tensor[[1, 2]][:, [0, 3]]
    after = origin.after(of_copy)
    assert torch.equal(after.read(left), of_copy.tensor(tensor.T))
    assert torch.equal(after.written(of_copy.tensor(tensor.T), left), left)


def test_tensors_have_the_first_of_their_names_and_need_not_be_registered() -> None:
    module = nn.Module()
    module.a = nn.Linear(2, 2, bias=False)
    module.b = nn.Linear(2, 2, bias=False)
    module.b.weight = module.a.weight
    module.b.gain = torch.ones(2)
    module.register_buffer("offset", torch.zeros(1), persistent=False)
    assert [*named_tensors(module)] == ["a.weight", "offset", "b.gain"]
