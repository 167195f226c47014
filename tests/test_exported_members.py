"""The public API, by name."""

import yoloprune


def test_all_is_sorted_and_complete() -> None:
    assert yoloprune.__all__ == sorted(yoloprune.__all__)
    assert len(yoloprune.__all__) <= 16
    for name in yoloprune.__all__:
        member = getattr(yoloprune, name)
        assert member.__doc__, name
        assert member.__module__.startswith("yoloprune."), name
