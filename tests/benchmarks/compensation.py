"""Residues of the compensation methods on the full YOLOv3 with half of its channels dead.

One class, random weights; in a random half of each prunable group's channels gamma is exactly 0,
and exactly those are removed. Errors in float32 against the network before surgery.
Usage: python tests/benchmarks/compensation.py
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from yoloprune.pruning.surgery import surgery

from tests.pruning.plans import with_carriers, with_dead_channels
from yoloprune.darknet.cost import cost
from yoloprune.darknet.zoo import yolov3
from yoloprune.model.initialization import random_state
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget, PruningPlan
from yoloprune.pruning.verification import compare, head_maps, random_images


def main() -> None:
    spec = yolov3(classes=1)
    graph = analyse(spec)
    generator = np.random.default_rng(0)
    keep = {
        group.id: tuple(sorted(generator.permutation(group.size)[group.size // 2 :].tolist()))
        for group in graph.prunable
    }
    half = PruningPlan(spec_digest=spec.digest(), criterion="dead half", budget=Budget(), keep=keep)
    carried = with_carriers(graph, half)
    state = with_dead_channels(graph, random_state(spec), carried)
    images = random_images(spec).float()
    dense = head_maps(spec, state, images)
    for method in Compensation:
        plan = carried if method is Compensation.CARRIER else replace(half, compensation=method)
        slim_spec, slim_state = surgery(spec, compensate(spec, state, plan), plan)
        error = compare(head_maps(slim_spec, slim_state, images), dense)
        kept = cost(slim_spec).macs / cost(spec).macs
        print(f"{method.value:8} relative error {error.relative_error:.3g} at {kept:.4f} of MACs")


if __name__ == "__main__":
    main()
