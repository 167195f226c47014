"""Elimination against least squares on explicit columns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from yoloprune.pruning.score.elimination import Reader, losses_by_elimination

WINDOW = 2
"""Columns of each channel."""


def reader_of(columns: NDArray[np.float64], weights: NDArray[np.float64]) -> Reader:
    """One that gives columns (N, n k) times weights (R, n k)."""
    return Reader(
        rows=torch.from_numpy(weights),
        inverse=torch.from_numpy(np.linalg.inv(columns.T @ columns)),
        channels=np.arange(columns.shape[1] // WINDOW),
    )


def loss_without(
    columns: NDArray[np.float64], weights: NDArray[np.float64], gone: list[int]
) -> float:
    """What the best re-fit of the others still lacks of what all columns gave."""
    left = np.delete(np.arange(columns.shape[1]).reshape(-1, WINDOW), gone, axis=0).flatten()
    target = columns @ weights.T
    if not len(left):
        return float(np.square(target).sum())
    best = np.linalg.lstsq(columns[:, left], target, rcond=None)[0]
    return float(np.square(columns[:, left] @ best - target).sum())


@pytest.mark.parametrize("seed", range(4))
def test_losses_are_those_of_the_best_refit_step_by_step(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = 7
    # Correlated columns: what one is worth depends on which others are left.
    mixing = generator.normal(size=(size * WINDOW, size * WINDOW))
    columns = generator.normal(size=(60, size * WINDOW)) @ mixing
    weights = generator.normal(size=(3, size * WINDOW))
    savings = np.ones(size) if seed < 2 else generator.uniform(1, 3, size)
    found = losses_by_elimination([reader_of(columns, weights)], savings)
    gone: list[int] = []
    expected, steps = np.zeros(size), []
    while len(gone) < size:
        before = loss_without(columns, weights, gone)
        costs = {
            channel: (loss_without(columns, weights, [*gone, channel]) - before) / savings[channel]
            for channel in range(size)
            if channel not in gone
        }
        cheapest = min(costs, key=lambda channel: costs[channel])
        gone.append(cheapest)
        steps.append(costs[cheapest])
        expected[cheapest] = max(steps)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.argsort(found).tolist() == gone
    if seed == 0:
        # Here one gets cheaper once another is gone, and must not be ranked before it.
        assert (np.diff(steps) < 0).any()


def test_several_readers_add_up() -> None:
    generator = np.random.default_rng(0)
    # Uncorrelated columns of different sizes: a channel costs what it gave, whatever is gone.
    basis = np.linalg.qr(generator.normal(size=(40, 4 * WINDOW)))[0]
    weights = [generator.normal(size=(3, 4 * WINDOW)) for _ in range(2)]
    # The first reads channels 0 to 3 of the six, the second 2 to 5.
    readers = [reader_of(basis, own) for own in weights]
    readers[1] = replace(readers[1], channels=readers[1].channels + 2)
    each = np.zeros(6)
    for reader, own in zip(readers, weights, strict=True):
        each[reader.channels] += np.square(own).reshape(3, 4, WINDOW).sum(axis=(0, 2))
    found = losses_by_elimination(readers, np.ones(6))
    np.testing.assert_allclose(found, each, rtol=1e-9)


def test_of_two_that_say_the_same_only_one_goes_cheaply_though_many_go_at_once() -> None:
    generator = np.random.default_rng(0)
    size = 96  # Four go before the large matrices are updated.
    columns = generator.normal(size=(600, size * WINDOW))
    columns[:, WINDOW : 2 * WINDOW] = columns[:, :WINDOW]
    columns[:, WINDOW : 2 * WINDOW] += 1e-3 * generator.normal(size=(600, WINDOW))
    found = losses_by_elimination([reader_of(columns, np.ones((1, size * WINDOW)))], np.ones(size))
    first, second = sorted(found[:2])
    assert first < 0.01 * np.median(found) and second > np.median(found)
