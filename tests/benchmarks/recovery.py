"""mAP as pruned, recalibrated, re-fitted and both, at equal MACs, by criterion; time and memory.

`group-l2` is Torch-Pruning's own importance (GroupMagnitudeImportance), over the groups that it
traces, under our budget. Images for recovery are chosen from CALIBRATION (a folder or list), mAP is
coco's at IoU 0.5 on all images of the list EVALUATION.
Usage: python tests/benchmarks/recovery.py CFG WEIGHTS CALIBRATION EVALUATION [CRITERION|SHARE]...
"""

import resource
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp
from yoloprune.pruning.importance import CRITERIA, score
from yoloprune.pruning.reconstruction import Recovery, recover
from yoloprune.pruning.surgery import surgery

from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, class_count
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.data.calibration import Calibration, read_calibration
from yoloprune.data.dataset import Dataset, LabelledImage
from yoloprune.data.read import read_objects
from yoloprune.data.text_files import read_image_list
from yoloprune.evaluation.detector import network_detector
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.frontends.darknet.document import model
from yoloprune.model.network import Network
from yoloprune.pruning.budget import Scope, Scores, comparable, solve
from yoloprune.pruning.groups import DependencyGraph, analyse
from yoloprune.pruning.plan import Budget
from yoloprune.workflows.scores import scores_on_images

IMAGES = 64
CHOSEN = ("l2", "group-l2", "activation", "taylor", "reconstruction")
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)


def group_l2(graph: DependencyGraph, state: State) -> Scores:
    """Torch-Pruning's importance of each channel of each of our groups."""
    network = Network.from_state(graph.spec, state)
    traced = tp.DependencyGraph().build_dependency(
        network, torch.zeros(1, *graph.spec.input_shape), verbose=False
    )
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    scores = {}
    for group in graph.prunable:
        producer = group.producers[0]
        module = network.layers[str(producer.layer)].conv
        everything = list(range(module.out_channels))
        found = traced.get_pruning_group(module, tp.prune_conv_out_channels, everything)
        values = importance(found).detach().double().numpy()
        scores[group.id] = np.zeros(group.size)
        scores[group.id][list(producer.channels)] = values[list(producer.positions)]
    return scores


def dataset(spec: NetworkSpec, path: Path) -> Dataset:
    classes = class_count(spec)
    images = []
    for image in read_image_list(path):
        nothing = LabelledImage(path=image, boxes=np.zeros((0, 4)), labels=np.zeros(0, np.int64))
        images.append(read_objects(image, classes) or nothing)
    names = tuple(map(str, range(classes)))
    return Dataset(images=tuple(images), names=names)


def scores_of(name: str, graph: DependencyGraph, state: State, images: Calibration) -> Scores:
    if name == "group-l2":
        return group_l2(graph, state)
    if name in CRITERIA:
        return comparable(score(graph, state, CRITERIA[name]), Scope.GLOBAL)
    start = time.perf_counter()
    network = model(graph.spec, state, title="dense")
    measured = scores_on_images(name, network, images, seed=0)
    print(f"{name}: scored in {time.perf_counter() - start:.0f} s", flush=True)
    assert measured is not None
    return measured


def main() -> None:
    cfg, weights, calibration, evaluation = map(Path, sys.argv[1:5])
    names = [word for word in sys.argv[5:] if not word[0].isdigit()] or CHOSEN
    shares = [float(word) for word in sys.argv[5:] if word[0].isdigit()] or SHARES
    spec = read_cfg(cfg)
    state, graph = read_weights(weights, spec), analyse(spec)
    images = read_calibration(spec, calibration, IMAGES, seed=0)
    truth = dataset(spec, evaluation)

    def accuracy(own_spec: NetworkSpec, own_state: State) -> float:
        detector = network_detector(Network.from_state(own_spec, own_state))
        return evaluate(detector, truth, "coco").map50

    print(f"dense mAP@0.5 {accuracy(spec, state):.3f} on {len(truth.images)} images", flush=True)
    scores = {name: scores_of(name, graph, state, images) for name in names}
    print("| MACs kept | criterion | as pruned | recalibrated | re-fitted | both | seconds |")
    for share in shares:
        for name in names:
            plan = solve(graph, scores[name], Budget(keep_macs=share), criterion=name)
            slim_spec, slim = surgery(spec, state, plan)
            recovered = partial(recover, spec, state, plan, slim_spec, images=images.images)
            recalibrated = recovered(slim, recovery=Recovery.RECALIBRATE)
            start = time.perf_counter()
            fitted = recovered(slim, recovery=Recovery.RECONSTRUCT)
            seconds = time.perf_counter() - start
            both = recovered(fitted.state, recovery=Recovery.RECALIBRATE)
            states = [slim, *(each.state for each in (recalibrated, fitted, both))]
            found = [accuracy(slim_spec, own) for own in states]
            texts = " | ".join(f"{value:.3f}" for value in found)
            print(f"| {share:g} | {name} | {texts} | {seconds:.0f} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of everything here: {peak:.2f} GB")


if __name__ == "__main__":
    main()
