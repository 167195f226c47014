import numpy as np

from yoloprune.graph.builder import GraphBuilder
from yoloprune.pruning.labels.ids import Ids
from yoloprune.pruning.labels.label import label
from yoloprune.pruning.labels.labels import Contraction, Partition, renamed, tie


def ids(*numbers: int) -> Ids:
    return np.array(numbers, np.int64)


def contraction(groups: int, read: Ids) -> Contraction:
    return Contraction(
        node="n", input=1, name="k", filter_axis=0, column_axis=1, groups=groups,
        filters=ids(9, 10), read=read,
    )  # fmt: skip


def test_a_depthwise_contraction_has_no_columns() -> None:
    assert not contraction(1, ids(1, 2)).depthwise
    assert contraction(2, ids(1, 2)).depthwise
    assert not contraction(2, ids(1, 2, 3, 4)).depthwise
    assert contraction(1, ids(1, 2)).columns.tolist() == [1, 2]
    assert contraction(2, ids(1, 2)).columns.tolist() == []


def test_runs_of_the_same_ids_are_tied() -> None:
    assert Partition(ids=ids(1, 2, 1, 2), parts=2).tied
    assert not Partition(ids=ids(1, 2, 2, 1), parts=2).tied


def test_tying_makes_the_same_place_of_each_run_one() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.node("first", "Conv", graph.input("images", (1, 3, 4, 4)),
                   graph.parameter("k1", (4, 3, 1, 1)))  # fmt: skip
    last = graph.node("last", "Conv", x, graph.parameter("k2", (2, 4, 1, 1)))
    labels = label(graph.build({last: (1, 2, 4, 4)}))
    channels = labels.contractions[0].filters
    tied = tie(labels, [Partition(ids=channels, parts=2)])
    a, b, c, d = tied.contractions[0].filters.tolist()
    assert (a, b) == (c, d) and a != b
    assert np.array_equal(tied.values["first"].reshape(-1), tied.contractions[1].read)
    # Reasons go with the ids; of several the first stays.
    canonical = np.zeros(labels.count, np.int64)
    assert renamed(labels, canonical).frozen == {0: next(iter(labels.frozen.values()))}
