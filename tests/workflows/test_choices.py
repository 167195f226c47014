import pytest

from yoloprune.errors import UsageError
from yoloprune.pruning.choices import Scope
from yoloprune.workflows.choices import Schedule, chosen


def test_a_word_names_its_member_and_another_is_refused_with_those_that_are_known() -> None:
    assert chosen(Schedule, "cubic", "schedule") is Schedule.CUBIC
    assert chosen(Scope, "layer", "scope") is Scope.LAYER
    with pytest.raises(
        UsageError, match=r"`schedule` 'square' is unknown \(known: linear, cubic\)"
    ):
        chosen(Schedule, "square", "schedule")
