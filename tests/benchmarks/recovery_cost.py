"""Time and memory of re-fitting the full YOLOv3 at 416x416, cut to half of its MACs.

One class, random weights and 64 images of noise: neither changes what there is to compute.
Usage: python tests/benchmarks/recovery_cost.py [IMAGES]
"""

import resource
import sys
import time

import torch
from yoloprune.pruning.importance import CRITERIA, score
from yoloprune.pruning.reconstruction import memory_needed, recover
from yoloprune.pruning.surgery import surgery

from yoloprune.darknet.zoo import yolov3
from yoloprune.model.initialization import random_state
from yoloprune.pruning.budget import Scope, comparable, solve
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    spec = yolov3(classes=1)
    state, graph = random_state(spec), analyse(spec)
    scores = comparable(score(graph, state, CRITERIA["l2"]), Scope.GLOBAL)
    plan = solve(graph, scores, Budget(keep_macs=0.5), criterion="l2")
    slim_spec, slim_state = surgery(spec, state, plan)
    images = torch.rand(count, 3, 416, 416)
    print(f"{count} images: {memory_needed(spec, slim_spec, count) / 1e9:.2f} GB estimated")
    wall, processor = time.perf_counter(), time.process_time()
    recover(spec, state, plan, slim_spec, slim_state, images)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{wall:.0f} s ({processor:.0f} s of processor time, {torch.get_num_threads()} threads), "
        f"peak {peak:.2f} GB of the whole process"
    )


if __name__ == "__main__":
    main()
