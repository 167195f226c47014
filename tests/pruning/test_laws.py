"""The laws of surgery on random graphs of every family of operators, made by hand (no file).

Usage for more of them: python -m tests.pruning.test_laws [N (5000)] [SEED (0)]
"""

import sys
from collections import Counter
from dataclasses import replace

import torch
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from tests.pruning.plans import random_plan
from tests.random_graphs import graphs, random_parameters
from yoloprune.errors import PlanError
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import compose
from yoloprune.pruning.prove import Exactness, exactness, outputs
from yoloprune.pruning.verification import random_images

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.data_too_large])
SEEDS = st.integers(0, 2**16)


def slim_against_masked(graph: Graph, number: int) -> Exactness:
    """Law 2 for a random plan and random numbers."""
    dependencies = analyze(graph)
    plan = random_plan(dependencies, number)
    parameters = random_parameters(graph, number)
    slim = edit(graph, parameters, cut(dependencies, plan))
    kept = dependencies.kept(plan.keep)
    return exactness(dependencies, parameters, kept, slim, random_images(graph, seed=number))


@settings(max_examples=300, suppress_health_check=[HealthCheck.data_too_large])
@given(graph=graphs(), number=SEEDS)
def test_slim_equals_masked(graph: Graph, number: int) -> None:
    found = slim_against_masked(graph, number)
    assert found.passed, found
    assert found.values


@FEW
@given(graph=graphs(), number=SEEDS)
def test_keeping_every_channel_is_the_identity(graph: Graph, number: int) -> None:
    dependencies = analyze(graph)
    whole = {group.id: tuple(range(group.size)) for group in dependencies.prunable}
    plan = replace(random_plan(dependencies, number), keep=whole)
    parameters = random_parameters(graph, number)
    same, same_parameters = edit(graph, parameters, cut(dependencies, plan))
    assert same.digest() == graph.digest()
    assert all(same_parameters[name] is array for name, array in parameters.items())


@FEW
@given(graph=graphs(), number=SEEDS)
def test_two_surgeries_equal_the_composed_one(graph: Graph, number: int) -> None:
    parameters = random_parameters(graph, number)
    dependencies = analyze(graph)
    first = random_plan(dependencies, number)
    middle, middle_parameters = edit(graph, parameters, cut(dependencies, first))
    between = analyze(middle)
    second = random_plan(between, number + 1)
    try:
        whole = compose(dependencies, first, between, second)
    except PlanError:
        # What is left may be cut in ways that the dense network cannot (`compose` says so).
        assume(False)
    twice, twice_parameters = edit(middle, middle_parameters, cut(between, second))
    once, once_parameters = edit(graph, parameters, cut(dependencies, whole))
    assume(len(once_parameters) == len(twice_parameters))
    assert all(torch.equal(once_parameters[n], array) for n, array in twice_parameters.items())
    if [node.name for node in once.nodes] == [node.name for node in twice.nodes]:
        assert once.digest() == twice.digest()
        return
    # Moves that left no rectangle in between are one gather after one surgery, and two after two.
    images = random_images(graph, seed=number)
    given = (outputs(once, once_parameters, images), outputs(twice, twice_parameters, images))
    assert all(torch.equal(a, b) for a, b in zip(*given, strict=True))


@FEW
@given(graph=graphs(), number=SEEDS)
def test_the_same_graph_has_the_same_groups(graph: Graph, number: int) -> None:
    first, second = analyze(graph), analyze(replace(graph))
    assert first.groups == second.groups
    assert random_plan(first, number) == random_plan(second, number)


def test_a_wrong_cut_is_found() -> None:
    """A kept channel in a removed one's place, in every kernel of a graph: no mutant passes."""
    caught = Counter[bool]()

    @seed(0)
    @settings(max_examples=80, database=None, phases=[Phase.generate], deadline=None)
    @given(graph=graphs(max_blocks=3))
    def mutate(graph: Graph) -> None:
        dependencies = analyze(graph)
        plan = random_plan(dependencies, 1)
        parameters = random_parameters(graph, 1)
        slim = edit(graph, parameters, cut(dependencies, plan))
        kept = dependencies.kept(plan.keep)
        for found in dependencies.labels.contractions:
            gone = (~kept[found.filters]).nonzero()[0]
            stays = kept[found.filters].nonzero()[0]
            if found.filter_axis or found.groups > 1 or not (len(gone) and len(stays)):
                continue
            if found.name not in slim[1]:
                continue  # Computed.
            array = slim[1][found.name].clone()
            array[0] = (
                parameters[found.name][gone[0]]
                .reshape(-1)[: array[0].numel()]
                .reshape(array[0].shape)
            )
            wrong = (slim[0], slim[1] | {found.name: array})
            result = exactness(dependencies, parameters, kept, wrong, random_images(graph))
            caught[not result.passed] += 1

    mutate()
    assert caught[True] > 20
    assert not caught[False]


def main() -> None:
    """Law 2 on so many graphs, and the largest error."""
    count, start = (int(word) for word in (*sys.argv[1:], *("5000", "0")[len(sys.argv) - 1 :]))
    worst, operators = 0.0, Counter[str]()

    @seed(start)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(graph=graphs())
    def check(graph: Graph) -> None:
        nonlocal worst
        found = slim_against_masked(graph, start)
        assert found.passed, found
        worst = max(worst, found.relative_error)
        operators.update({node.operator for node in graph.nodes})

    check()
    print(f"{count} graphs: largest relative error {worst:.3g}; graphs with each operator:")
    print(", ".join(f"{name} {number}" for name, number in sorted(operators.items())))


if __name__ == "__main__":
    main()
