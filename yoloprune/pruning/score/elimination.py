"""What channels cost when they go one after the other and the kernels that read them are re-fitted.

As B. Hassibi and D. Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon",
1993, with a block of columns for each channel: the inverse of the Gram matrix of what a layer
reads says what the best re-fit without a block would lose, and how that changes for the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.pruning.groups import Member
from yoloprune.pruning.recover.layer import RIDGE
from yoloprune.pruning.recover.moments import Moments

ROUNDS = 24
"""The large matrices are updated after at most this share (one in so many) of what is left."""

DISTINCT = 1e-12
"""Relative difference by which two losses differ at least, however they are divided later."""

SPARE = 2
"""Times as many candidates as are to go before that update."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reader:
    """A group's n columns, of k^2 values each, in one consumer with R weighted rows.

    `rows` (R, n k^2); `inverse` (n k^2, n k^2), of the Gram matrix of all that the consumer reads,
    restricted to these columns; `channels` (n,), the group's channel numbers.
    """

    rows: Tensor
    inverse: Tensor
    channels: NDArray[np.int64]

    def losses(self) -> NDArray[np.float64]:
        """What the removal of each column alone costs after a re-fit of the others, (n,)."""
        count = len(self.channels)
        blocks = self.inverse.reshape(count, -1, count, self.inverse.shape[1] // count)
        own = blocks.diagonal(dim1=0, dim2=2).movedim(2, 0)  # (n, k^2, k^2)
        columns = self.rows.reshape(len(self.rows), count, -1).permute(1, 2, 0)  # (n, k^2, R)
        solved = torch.cholesky_solve(columns, torch.linalg.cholesky(own))
        cost_of: NDArray[np.float64] = (columns * solved).sum(dim=(1, 2)).numpy(force=True)
        return cost_of

    def of(self, wanted: NDArray[np.bool_]) -> "Reader":
        """The reader as far as it reads some columns (n,), the others staying."""
        own = self._places(wanted)
        return Reader(
            rows=self.rows[:, own],
            inverse=self.inverse[own][:, own],
            channels=self.channels[wanted],
        )

    def without(self, gone: NDArray[np.bool_]) -> "Reader":
        """The reader re-fitted without some columns."""
        out, left = self._places(gone), self._places(~gone)
        removed = self.inverse[out]
        between = removed[:, left]
        moved = torch.cholesky_solve(between, torch.linalg.cholesky(removed[:, out]))
        return Reader(
            rows=self.rows[:, left] - self.rows[:, out] @ moved,
            inverse=self.inverse[left][:, left] - between.T @ moved,
            channels=self.channels[~gone],
        )

    def _places(self, columns: NDArray[np.bool_]) -> Tensor:
        """Where the values of some columns stand in the matrices."""
        window = self.inverse.shape[1] // len(columns)
        return torch.from_numpy(np.flatnonzero(np.repeat(columns, window)))


def readers_of(member: Member, rows: Tensor, moments: Moments) -> list[Reader]:
    """A member's columns in each of its layer's groups; `rows` (R, C / g, k) are in their order."""
    positions, channels = np.asarray(member.positions), np.asarray(member.channels)
    _, width, window = rows.shape
    found = []
    for part, own_rows in enumerate(rows.chunk(len(moments.gram))):
        own = positions // width == part
        if not own.any():
            continue
        damped = moments.gram[part] / moments.count
        energies = damped.diagonal()[:-1]
        energies += RIDGE * energies.mean() + torch.finfo(torch.float32).tiny
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        columns = torch.from_numpy(positions[own] - part * width)
        places = (columns[:, None] * window + torch.arange(window)).flatten()
        found.append(
            Reader(
                rows=own_rows[:, columns].flatten(1),
                inverse=inverse[places][:, places],
                channels=channels[own],
            )
        )
    return found


def losses_by_elimination(
    readers: Sequence[Reader], savings: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each of n channels costs, for what it saves (n,), when it goes.

    The cheapest goes first; those before it are gone then.
    """
    losses = np.zeros(len(savings))
    left = np.arange(len(savings))
    highest = 0.0
    while len(left):
        batch = max(1, len(left) // ROUNDS)
        costs = _costs(readers, savings)
        cheapest = left[np.argsort(costs[left], kind="stable")]
        gone = np.zeros(len(savings), np.bool_)
        for channel, cost in _one_by_one(readers, savings, costs, cheapest[: SPARE * batch], batch):
            # One that goes later counts more than one before: the ranking is to be that order.
            losses[channel] = highest = max(highest * (1 + DISTINCT), cost)
            gone[channel] = True
        left = left[~gone[left]]
        readers = _without(readers, gone)
    return losses


def _one_by_one(
    readers: Sequence[Reader],
    savings: NDArray[np.float64],
    costs: NDArray[np.float64],
    candidates: NDArray[np.int64],
    count: int,
) -> Iterator[tuple[int, float]]:
    """The cheapest of a few candidates, what it costs, then the cheapest without it, and so on.

    `costs` (n,) are those before any is gone, and the first candidate the cheapest by them. Of two
    channels that say the same the first is cheap, and the second is not any more.
    """
    place = 0
    yield int(candidates[place]), costs[candidates[place]]
    if count == 1:
        return
    wanted = np.zeros(len(savings), np.bool_)
    wanted[candidates] = True
    masks = [wanted[reader.channels] for reader in readers]
    readers = [r.of(mask) for r, mask in zip(readers, masks, strict=True) if mask.any()]
    # So little at a time that a GPU would do nothing but begin.
    readers = [replace(r, rows=r.rows.cpu(), inverse=r.inverse.cpu()) for r in readers]
    for _ in range(count - 1):
        gone = np.arange(len(savings)) == candidates[place]
        candidates = np.delete(candidates, place)
        readers = _without(readers, gone)
        costs = _costs(readers, savings)[candidates]
        place = int(costs.argmin())
        yield int(candidates[place]), costs[place]


def _costs(readers: Sequence[Reader], savings: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the removal of each channel alone costs all its readers, for what it saves: (n,)."""
    costs = np.zeros(len(savings))
    for reader in readers:
        np.add.at(costs, reader.channels, reader.losses())
    return costs / savings


def _without(readers: Sequence[Reader], gone: NDArray[np.bool_]) -> list[Reader]:
    """The readers re-fitted without some channels, (n,); those that read no others are left out."""
    masks = [gone[reader.channels] for reader in readers]
    return [r.without(mask) for r, mask in zip(readers, masks, strict=True) if not mask.all()]
