"""mAP as pruned, recalibrated, re-fitted and both, at equal MACs, by criterion; time and memory.

`group-l2` is Torch-Pruning's own importance (GroupMagnitudeImportance), over the groups that it
traces, under our budget. Images for recovery are chosen from CALIBRATION (a folder or list), mAP is
coco's at IoU 0.5 on all images of the list EVALUATION.
Usage: python tests/benchmarks/recovery.py CFG WEIGHTS CALIBRATION EVALUATION [CRITERION|SHARE]...
"""

import resource
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch_pruning as tp

from tests.networks import network_of
from yoloprune.data.calibration import Calibration, read_calibration
from yoloprune.data.dataset import Dataset, LabeledImage
from yoloprune.data.read import read_objects
from yoloprune.data.text_files import read_image_list
from yoloprune.evaluation.detector import network_detector
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.frontends.darknet.document import layer_of, model, pair
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec, class_count
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.recover.network import Recovery, recover
from yoloprune.pruning.score.on_weights import CRITERIA, score
from yoloprune.pruning.solve import comparable, solve
from yoloprune.workflows.scores import scores_on_images

IMAGES = 64
CHOSEN = ("l2", "group-l2", "activation", "taylor", "reconstruction")
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5)


def group_l2(graph: DependencyGraph, dense: Model) -> Scores:
    """Torch-Pruning's importance of each channel of each of our groups."""
    spec, state = pair(dense)
    network = network_of(spec, state)
    traced = tp.DependencyGraph().build_dependency(
        network, torch.zeros(1, *spec.input_shape), verbose=False
    )
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    scores = {}
    for group in graph.prunable:
        producer = group.producers[0]
        module = network.conv(layer_of(producer.node)).conv
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
        nothing = LabeledImage(path=image, boxes=np.zeros((0, 4)), labels=np.zeros(0, np.int64))
        images.append(read_objects(image, classes) or nothing)
    names = tuple(map(str, range(classes)))
    return Dataset(images=tuple(images), names=names)


def scores_of(name: str, graph: DependencyGraph, dense: Model, images: Calibration) -> Scores:
    if name == "group-l2":
        return group_l2(graph, dense)
    if name in CRITERIA:
        return comparable(score(graph, dense.parameters, CRITERIA[name]), Scope.GLOBAL)
    start = time.perf_counter()
    measured = scores_on_images(name, dense, images, seed=0)
    print(f"{name}: scored in {time.perf_counter() - start:.0f} s", flush=True)
    assert measured is not None
    return measured


def main() -> None:
    cfg, weights, calibration, evaluation = map(Path, sys.argv[1:5])
    names = [word for word in sys.argv[5:] if not word[0].isdigit()] or CHOSEN
    shares = [float(word) for word in sys.argv[5:] if word[0].isdigit()] or SHARES
    spec = read_cfg(cfg)
    dense = model(spec, read_weights(weights, spec), title="dense")
    graph = analyze(dense.graph)
    images = read_calibration(dense, calibration, IMAGES, seed=0)
    truth = dataset(spec, evaluation)

    def accuracy(network: Model) -> float:
        detector = network_detector(pair(network)[0], network_of(*pair(network)))
        return evaluate(detector, truth, "coco").map50

    print(f"dense mAP@0.5 {accuracy(dense):.3f} on {len(truth.images)} images", flush=True)
    scores = {name: scores_of(name, graph, dense, images) for name in names}
    print("| MACs kept | criterion | as pruned | recalibrated | re-fitted | both | seconds |")
    for share in shares:
        for name in names:
            plan = solve(graph, scores[name], Budget(limits={"macs": share}), criterion=name)
            slim = dense.edited(cut(graph, plan))
            recovered = partial(recover, graph, dense.parameters, plan, images=images.images)
            as_pruned = slim.graph, slim.parameters
            recalibrated = recovered(as_pruned, recovery=Recovery.RECALIBRATE)
            start = time.perf_counter()
            fitted = recovered(as_pruned, recovery=Recovery.RECONSTRUCT)
            seconds = time.perf_counter() - start
            both = recovered((slim.graph, fitted.parameters), recovery=Recovery.RECALIBRATE)
            networks = [slim]
            for each in (recalibrated, fitted, both):
                networks.append(replace(slim, parameters=each.parameters))
            found = [accuracy(network) for network in networks]
            texts = " | ".join(f"{value:.3f}" for value in found)
            print(f"| {share:g} | {name} | {texts} | {seconds:.0f} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of everything here: {peak:.2f} GB")


if __name__ == "__main__":
    main()
