"""What is counted without cutting is what a cut network costs."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.plans import random_plan
from tests.random_graphs import graphs, random_parameters
from yoloprune.graph.cost import cost
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.measures import Meter


@settings(max_examples=40)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_what_is_left_is_counted_as_in_the_cut_graph(graph: Graph, seed: int) -> None:
    dependencies = analyze(graph)
    plan = random_plan(dependencies, seed)
    slim, _ = edit(graph, random_parameters(graph, seed), cut(dependencies, plan))
    left = Meter(dependencies).remaining(dependencies.kept(plan.keep))
    found = cost(slim, facts(slim).shapes)
    assert (left.macs, left.channels) == (found.macs, found.channels)
    # An array that several nodes read may have to be stored for each.
    if Counter(
        name for node in graph.nodes for name in {*node.inputs} & graph.parameters.keys()
    ) == (Counter(graph.parameters.keys())):
        assert left.bytes == found.weight_bytes
