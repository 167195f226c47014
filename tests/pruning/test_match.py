"""The channels that a slim network has kept are found again, whatever the network."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.plans import random_plan
from tests.random_graphs import graphs, random_parameters
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.match import difference, kept_channels
from yoloprune.pruning.verification import random_images


@settings(max_examples=40)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_the_channels_of_a_plan_are_found(graph: Graph, seed: int) -> None:
    parameters = random_parameters(graph, seed)
    dependencies = analyze(graph)
    plan = random_plan(dependencies, seed)
    slim = edit(graph, parameters, cut(dependencies, plan))
    kept = kept_channels(dependencies, parameters, *slim)
    planned = dependencies.kept(plan.keep)
    read = [i for group in dependencies.groups for i in group.channels]
    assert np.array_equal(kept[read], planned[read])
    found = difference(dependencies, parameters, kept, slim, random_images(graph))
    assert found.passed and not found.layers
