"""Residues of the compensation methods on the full YOLOv3 with half of its channels dead.

One class, random weights; in a random half of each prunable group's channels gamma is exactly 0,
and exactly those are removed. Errors in float32 against the network before surgery.
Usage: python -m tests.benchmarks.compensation
"""

from dataclasses import replace

import numpy as np

from tests.pruning.darknet import dependencies, slim_spec
from tests.pruning.networks import slim_of
from tests.pruning.plans import with_carriers, with_dead_channels
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.verification import compare, random_images


def main() -> None:
    spec = yolov3(classes=1)
    graph = dependencies(spec)
    generator = np.random.default_rng(0)
    keep = {
        group.id: tuple(sorted(generator.permutation(group.size)[group.size // 2 :].tolist()))
        for group in graph.prunable
    }
    half = PruningPlan(
        graph_digest=graph.digest, criterion="dead half", budget=Budget(limits={}), keep=keep
    )
    carried = with_carriers(graph, half)
    arrays = with_dead_channels(graph, parameters(random_state(spec)), carried)
    images = {name: noise.float() for name, noise in random_images(graph.graph).items()}
    dense = outputs(graph.graph, arrays, images)
    for method in Compensation:
        plan = carried if method is Compensation.CARRIER else replace(half, compensation=method)
        slim = slim_of(graph, compensate(graph, arrays, plan), plan)
        error = compare(outputs(*slim, images), dense)
        kept = cost(slim_spec(spec, plan)).macs / cost(spec).macs
        print(f"{method.value:8} relative error {error.relative_error:.3g} at {kept:.4f} of MACs")


if __name__ == "__main__":
    main()
