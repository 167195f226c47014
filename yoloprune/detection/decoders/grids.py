"""The cells that heads without anchors predict from."""

import torch
from torch import Tensor

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (16, 32), (8, 16), (8, 32), (4, 8, 16, 32), (4, 8, 16))
"""Of networks with three heads, with four, with two, ..., or with two of three left."""


def strides_of(size: tuple[int, int], boxes: int, *, per_cell: int = 1) -> tuple[int, ...] | None:
    """The strides of heads that give so many boxes for an input of this (height, width)."""
    for strides in _STRIDES:
        cells = (rows * columns for rows, columns in (_cells(size, stride) for stride in strides))
        if per_cell * sum(cells) == boxes:
            return strides
    return None


def grid(  # -> (N, 2), (N, 1)
    size: tuple[int, int], strides: tuple[int, ...], like: Tensor
) -> tuple[Tensor, Tensor]:
    """(column, row) of the cells of all heads, head by head and row by row, and their strides."""
    places, widths = [], []
    for stride in strides:
        rows, columns = _cells(size, stride)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places.append(torch.stack((x, y), dim=-1).reshape(-1, 2).to(like))
        widths.append(like.new_full((rows * columns, 1), stride))
    return torch.cat(places), torch.cat(widths)


def _cells(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-size[0] // stride), -(-size[1] // stride)
