"""Time and memory of re-fitting the full YOLOv3 at 416x416, cut to half of its MACs.

One class, random weights and 64 images of noise: neither changes what there is to compute.
Usage: python tests/benchmarks/recovery_cost.py [IMAGES]
"""

import resource
import sys
import time

import torch

from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.edits import edit
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.recover.memory import memory_needed
from yoloprune.pruning.recover.network import recover
from yoloprune.pruning.score.on_weights import CRITERIA, score
from yoloprune.pruning.solve import comparable, solve


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    spec = yolov3(classes=1)
    arrays, graph = parameters(random_state(spec)), analyze(lower(spec))
    scores = comparable(score(graph, arrays, CRITERIA["l2"]), Scope.GLOBAL)
    plan = solve(graph, scores, Budget(limits={"macs": 0.5}), criterion="l2")
    slim = edit(graph.graph, arrays, cut(graph, plan))
    images = torch.rand(count, 3, 416, 416)
    print(f"{count} images: {memory_needed(graph, slim[0], count) / 1e9:.2f} GB estimated")
    wall, processor = time.perf_counter(), time.process_time()
    recover(graph, arrays, plan, slim, images)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{wall:.0f} s ({processor:.0f} s of processor time, {torch.get_num_threads()} threads), "
        f"peak {peak:.2f} GB of the whole process"
    )


if __name__ == "__main__":
    main()
