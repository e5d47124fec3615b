"""Verdicts that were worked out by hand."""

import optuna
import pytest
from optuna.trial import TrialState

from orchestrator.curves import PrunedAt
from orchestrator.search.judging import Judge
from orchestrator.spec import HalvingPrunerSpec, MedianPrunerSpec


def told(values, state=TrialState.COMPLETE, **marks):
    """An earlier trial with a value at each step."""
    return optuna.trial.create_trial(
        state=state,
        value=values[-1],
        intermediate_values=dict(enumerate(values)),
        system_attrs=marks,
    )


def judged(pruner, earlier, values, direction="maximize", spare=False):
    judge = Judge(pruner, direction, earlier, spare=spare)
    for step, value in enumerate(values):
        judge.hear(step, value)
    return judge.course


def median(**settings):
    return MedianPrunerSpec(name="median", **{"startup_trials": 3, **settings})


# medians by step: 0.2 0.3 0.5 0.7
EARLIER = [told([0.1, 0.3, 0.5, 0.9]), told([0.2, 0.2, 0.4, 0.2]), told([0.3, 0.4, 0.6, 0.7])]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.19], 0),
        ([0.2, 0.3, 0.5, 0.7], None),  # as good as the median is good enough
        ([0.2, 0.25], 1),
        ([0.3, 0.1], None),  # the best so far counts
        ([0.4, 0.4, 0.4], 2),
        ([0.6, 0.0, 0.0], None),
        ([0.6, 0.0, 0.0, 0.0], 3),
    ],
)
def test_a_trial_ends_where_its_best_value_is_below_the_median(values, step):
    pruned_at = judged(median(), EARLIER, values).pruned_at
    assert pruned_at == (None if step is None else PrunedAt(step, values[step]))


def test_where_less_is_better_it_ends_above_the_median():
    assert judged(median(), EARLIER, [0.2, 0.31], "minimize").pruned_at is None  # 0.2 is below 0.3
    assert judged(median(), EARLIER, [0.21], "minimize").pruned_at == PrunedAt(0, 0.21)


def test_nothing_is_pruned_before_enough_trials_are_complete():
    stopped = told([0.9], TrialState.PRUNED)
    assert judged(median(), [*EARLIER[:2], stopped], [0.0]).pruned_at is None
    assert judged(median(), [*EARLIER, stopped], [0.0]).pruned_at is not None


def test_pruned_trials_are_no_part_of_the_median():
    stopped = [told([0.9], TrialState.PRUNED)] * 5
    assert judged(median(), EARLIER + stopped, [0.2]).pruned_at is None


def test_warm_up_and_interval_say_at_which_steps_there_is_a_verdict():
    late = median(warmup_steps=1, interval=2)
    assert judged(late, EARLIER, [0.0]).pruned_at is None
    assert judged(late, EARLIER, [0.0, 0.0]).pruned_at == PrunedAt(1, 0.0)
    assert judged(late, EARLIER, [0.0, 0.3, 0.0]).pruned_at is None  # 0.5 at step 2
    assert judged(late, EARLIER, [0.0, 0.3, 0.0, 0.0]).pruned_at == PrunedAt(3, 0.0)


def test_a_pruned_trial_hears_no_more():
    course = judged(median(), EARLIER, [0.19, 0.9, 0.9])
    assert course.values == {0: 0.19}


def test_a_trial_that_is_spared_is_followed_to_its_end():
    course = judged(median(), EARLIER, [0.0, 0.0, 0.0, 0.0], spare=True)
    assert course.pruned_at is None
    assert course.values == {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0}


def halving(**settings):
    return HalvingPrunerSpec(
        name="successive_halving", min_resource=1, reduction_factor=2, **settings
    )


def at_rung(value, rung=0, state=TrialState.COMPLETE):
    return told([value], state, **{f"completed_rung_{r}": value for r in range(rung + 1)})


@pytest.mark.parametrize(
    ("earlier", "value", "goes_on"),
    [
        ([], 0.1, True),
        ([0.5], 0.4, False),  # the best 1 of 2
        ([0.5], 0.5, True),
        ([0.5, 0.1], 0.3, False),  # the best 1 of 3
        ([0.5, 0.1, 0.2], 0.3, True),  # the best 2 of 4
        ([0.5, 0.4, 0.2], 0.3, False),
    ],
)
def test_a_trial_passes_a_rung_among_the_best_half_there(earlier, value, goes_on):
    course = judged(halving(), [at_rung(v) for v in earlier], [0.0, value])
    assert course.pruned_at == (None if goes_on else PrunedAt(1, value))
    assert course.marks == {"completed_rung_0": value}


def test_rungs_are_at_steps_1_2_4():
    course = judged(halving(), [], [0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert course.marks == {
        "completed_rung_0": 0.1,
        "completed_rung_1": 0.2,
        "completed_rung_2": 0.4,
    }


def test_the_first_rung_can_be_put_off():
    course = judged(halving(min_early_stopping_rate=1), [at_rung(0.9)], [0.0, 0.0, 0.5])
    assert course.pruned_at == PrunedAt(2, 0.5)
    assert course.marks == {"completed_rung_0": 0.5}


def test_pruned_trials_keep_their_place_at_a_rung():
    stopped = at_rung(0.5, state=TrialState.PRUNED)
    assert judged(halving(), [stopped], [0.0, 0.4]).pruned_at == PrunedAt(1, 0.4)


def test_a_trial_is_ranked_among_those_at_the_same_rung():
    earlier = [at_rung(0.9), at_rung(0.3, rung=1)]
    course = judged(halving(), earlier, [0.0, 0.9, 0.4])
    assert course.pruned_at is None  # 0.9 of 0.9 0.9 0.3, then 0.4 of 0.4 0.3
    assert judged(halving(), earlier, [0.0, 0.9, 0.2]).pruned_at == PrunedAt(2, 0.2)
