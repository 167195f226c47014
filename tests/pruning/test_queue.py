"""Places along the queue: groups that are held, and groups that keep more."""

import numpy as np

from tests.pruning.darknet import dependencies
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.queue import Place, Queue

GRAPH = dependencies(yolov3_tiny(classes=1, width=0.25, size=(64, 64)))


def queue_of(multiple_of: int) -> Queue:
    generator = np.random.default_rng(0)
    scores = {group.id: generator.random(group.size) for group in GRAPH.prunable}
    return Queue(GRAPH, scores, Budget(limits={"macs": 0.5}, multiple_of=multiple_of), False)


def test_a_group_that_is_held_is_cut_as_further_along_the_queue() -> None:
    queue = queue_of(1)
    near, far = Place(removed=20), Place(removed=200)
    held = Place(removed=20, held={3: 200})
    counts = [{i: len(kept) for i, kept in queue.keep(at)[0].items()} for at in (near, far, held)]
    assert counts[2] == {**counts[0], 3: counts[1][3]}
    assert counts[0][3] > counts[1][3]


def test_steps_are_kept_beyond_what_the_queue_leaves() -> None:
    queue = queue_of(4)
    at, more = Place(removed=300), Place(removed=300, more={4: 2})
    before, after = (queue.keep(place)[0] for place in (at, more))
    assert len(after[4]) == len(before[4]) + 8
    assert {i: kept for i, kept in after.items() if i != 4} == {
        i: kept for i, kept in before.items() if i != 4
    }


def test_the_shortest_beginning_is_where_the_limit_is_first_met() -> None:
    queue = queue_of(2)
    at = queue.shortest()
    assert queue.fits(at)
    assert not queue.fits(Place(removed=at.removed - 1))
