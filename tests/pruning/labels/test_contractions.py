import pytest

from tests.pruning.labels.branches import Middle, cut_exactly, last, network, rows
from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.groups import analyze


def gated(g: GraphBuilder, a: str, b: str) -> str:
    gates = g.node("gates", "Einsum", *rows(g, a, b), equation="ncp,ncp->nc")
    return last(g, g.node("scaled", "Einsum", a, gates, equation="nc...,nc->nc..."))


def attended(g: GraphBuilder, a: str, b: str) -> str:
    shares = g.node("shares", "Einsum", *rows(g, a, b), equation="ncp,ncq->npq")
    mixed = g.node("mixed", "Einsum", "a.rows", shares, equation="ncp, npq -> ncq")
    return last(g, g.reshape("maps", mixed, (0, 12, 4, 5)))


@pytest.mark.parametrize("middle", [gated, attended])
def test_channels_that_meet_in_a_product_go_together(middle: Middle) -> None:
    dependencies, _ = cut_exactly(network(middle))
    (group,) = dependencies.prunable
    assert {member.node for member in group.producers} == {"a", "b"} and group.size == 12


def test_channels_that_are_crossed_with_others_stay() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        crossed = g.node("crossed", "Einsum", *rows(g, a, b), equation="ncp,ndp->ncd")
        return last(g, g.reshape("maps", crossed, (0, 12, 3, 4)))

    dependencies = analyze(network(middle))
    assert not dependencies.prunable
    reasons = {group.frozen_because for group in dependencies.groups}
    assert "crossed with other channels by crossed (Einsum)" in reasons


def test_equations_of_other_forms_keep_what_they_read() -> None:
    def middle(g: GraphBuilder, a: str, b: str) -> str:
        square = g.part("square", *rows(g, a), 2, 0, 12)
        return g.node("trace", "Einsum", square, *rows(g, b), equation="ncc,ncp->np")

    reasons = {group.frozen_because for group in analyze(network(middle)).groups}
    assert reasons == {"read by trace (Einsum)"}
