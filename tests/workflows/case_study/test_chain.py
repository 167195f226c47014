from dataclasses import replace

from tests.workflows.case_study.tiny import TINY
from yoloprune.workflows.case_study.chain import outcome_chain, random_chain


def test_a_single_cut_is_made_of_the_network_that_was_trained() -> None:
    found = outcome_chain(TINY)
    assert (found.source, found.cuts, found.recovered) == ("dense", ("pruned",), "distilled")
    assert found.stages == ("pruned", "refitted", "distilled") and found.intermediate == ()
    assert outcome_chain(replace(TINY, sparsity=0.5, sparsity_epochs=1)).source == "sparse"
    short = outcome_chain(replace(TINY, refit=False, distill_steps=0))
    assert short.stages == ("pruned",) and short.recovered == "pruned"


def test_each_cut_is_made_of_what_was_trained_after_the_one_before() -> None:
    settings = replace(TINY, keep_macs=0.3, step=0.25, step_epochs=1, criterion="l2")
    found = outcome_chain(settings)
    assert [(step.number, step.share, step.source) for step in found.steps] == [
        (1, 0.75, "dense"), (2, 0.5, "step-01-trained"),
    ]  # fmt: skip
    assert found.source == "step-02-trained"
    assert found.cuts == ("step-01", "step-02", "pruned")
    assert found.stages[:5] == (
        "step-01", "step-01-trained", "step-02", "step-02-trained", "pruned",
    )  # fmt: skip
    alike = random_chain(settings)
    assert alike.stages == tuple(f"random-{stage}" for stage in found.stages)
    assert (alike.criterion, found.criterion) == ("random", "l2")
    assert [step.share for step in alike.steps] == [step.share for step in found.steps]
