from yoloprune.workflows.int8_forms import Stage, fits


def test_what_fits_a_loss() -> None:
    def stage(map50: float) -> Stage:
        return Stage(name="", int8=0, map50=map50, ms=1.0)

    assert fits(stage(0.5), stage(0.5), 0.0)
    assert fits(stage(0.6), stage(0.5), 0.0)
    assert fits(stage(0.45), stage(0.5), 0.1)
    assert not fits(stage(0.45), stage(0.5), 0.01)
