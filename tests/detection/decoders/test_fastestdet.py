from tests.detection.decoders.families import TRUTH, found_in, outputs_of


def test_fastestdet_takes_the_likeliest_class_alone() -> None:
    outputs = outputs_of("fastestdet", TRUTH[:1])
    (maps,) = outputs.values()
    maps[0, 5, 1, 1] = 0.85
    (found,) = found_in("fastestdet", outputs)
    assert found.labels.tolist() == [2]
