"""Pruning the full YOLOv3 (one class, random weights) to 30% of its MACs: time and peak memory.

Ours and Torch-Pruning's own trace and prune of the same torch model, each in a fresh process so
that the peak is its own. Usage: python tests/benchmarks/yolov3_surgery.py
"""

import json
import resource
import subprocess
import sys
import time

import torch

from tests.networks import network_of
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.edits import edit
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.on_weights import l2, score
from yoloprune.pruning.solve import normalized, solve

KEEP_MACS = 0.3
SPEC = yolov3(classes=1)


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def ours() -> dict[str, float]:
    arrays = parameters(random_state(SPEC))
    loaded = peak_gigabytes()
    analyze(lower(SPEC))  # The first call pays for numpy's own lazy imports.
    start = time.perf_counter()
    graph = analyze(lower(SPEC))
    analyzed = time.perf_counter()
    scores = normalized(score(graph, arrays, l2))
    scored = time.perf_counter()
    plan = solve(graph, scores, Budget(limits={"macs": KEEP_MACS}), criterion="l2")
    planned = time.perf_counter()
    edits = cut(graph, plan)
    edit(graph.graph, arrays, edits)
    done = time.perf_counter()
    return {
        "analysis (ms)": 1e3 * (analyzed - start),
        "scoring (s)": scored - analyzed,
        "plan (s)": planned - scored,
        "surgery (s)": done - planned,
        "scoring + plan + surgery (s)": done - analyzed,
        "peak, weights loaded (GB)": loaded,
        "peak (GB)": peak_gigabytes(),
        "MACs kept": cost(applied(SPEC, edits)).macs / cost(SPEC).macs,
    }


def torch_prunings() -> dict[str, float]:
    import torch_pruning as tp

    network = network_of(SPEC, random_state(SPEC))
    network.requires_grad_(True)
    images = torch.zeros(1, *SPEC.input_shape)
    read_by_heads = [network.layers[str(head.sources[0])].conv for head in SPEC.heads]
    loaded = peak_gigabytes()
    start = time.perf_counter()
    pruner = tp.pruner.BasePruner(
        network,
        images,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        # Found by hand: this share of channels comes closest to the MACs that ours keeps.
        pruning_ratio=0.49,
        ignored_layers=read_by_heads,
    )
    traced = time.perf_counter()
    pruner.step()
    done = time.perf_counter()
    with torch.no_grad():
        macs, _ = tp.utils.count_ops_and_params(network, images)
    return {
        "trace (s)": traced - start,
        "scoring + prune (s)": done - traced,
        "peak, weights loaded (GB)": loaded,
        "peak (GB)": peak_gigabytes(),
        "MACs kept": macs / cost(SPEC).macs,
    }


def main() -> None:
    if len(sys.argv) > 1:
        torch.set_num_threads(2)
        print(json.dumps({"ours": ours, "torch-pruning": torch_prunings}[sys.argv[1]]()))
        return
    for name in ("ours", "torch-pruning"):
        command = [sys.executable, __file__, name]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        print(name)
        for what, value in json.loads(found.stdout.splitlines()[-1]).items():
            print(f"  {what:32} {value:8.3f}")


if __name__ == "__main__":
    main()
