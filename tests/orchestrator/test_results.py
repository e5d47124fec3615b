import json

import pytest

from orchestrator.ledger import Ledger
from orchestrator.objective import Point, Record, Segment
from orchestrator.results import Estimate, StudyResults, TrialResult, estimates, paired_differences

T_95_ONE = 12.706205  # Student's t at 0.975 with 1 degree of freedom, as printed in tables
T_95_TWO = 4.302653
T_90_TWO = 2.919986


def trial(number=0, streams=None, *, baseline=False, state="complete", block_ids=()):
    return TrialResult(
        number, f"t{number}", baseline, state, {}, {}, block_ids, streams or {}, None
    )


def values_of(name="score", **by_stream):
    """``values_of(s0=1.0)`` is a trial's streams with one metric."""
    return {int(stream[1:]): {name: (value, 1)} for stream, value in by_stream.items()}


# -- intervals ----------------------------------------------------------------------------


def test_interval_of_two_values_matches_hand_computation():
    # mean 2; standard deviation sqrt(((1-2)^2 + (3-2)^2) / 1) = sqrt(2), over sqrt(2) is 1
    estimate = Estimate.over([1.0, 3.0], 0.95)
    assert (estimate.mean, estimate.n) == (2.0, 2)
    assert estimate.low == pytest.approx(2 - T_95_ONE, abs=1e-6)
    assert estimate.high == pytest.approx(2 + T_95_ONE, abs=1e-6)


@pytest.mark.parametrize(("level", "t"), [(0.95, T_95_TWO), (0.9, T_90_TWO)])
def test_interval_of_three_values_matches_hand_computation(level, t):
    # mean 3; standard deviation sqrt((4 + 0 + 4) / 2) = 2, over sqrt(3)
    estimate = Estimate.over([1.0, 3.0, 5.0], level)
    assert estimate.low == pytest.approx(3 - t * 2 / 3**0.5, abs=1e-5)
    assert estimate.high == pytest.approx(3 + t * 2 / 3**0.5, abs=1e-5)


def test_one_stream_has_a_mean_but_no_interval():
    assert Estimate.over([0.25], 0.95) == Estimate(0.25, None, None, 1)


def test_equal_values_have_an_interval_of_no_width():
    assert Estimate.over([0.5, 0.5, 0.5], 0.95) == Estimate(0.5, 0.5, 0.5, 3)


def test_the_order_of_streams_does_not_change_a_bit():
    values = [0.1, 0.2, 0.3, 1e16, -1e16]
    assert Estimate.over(values, 0.95).mean == Estimate.over(values[::-1], 0.95).mean


def test_a_metric_is_estimated_over_the_streams_in_which_it_is_defined():
    streams = {
        2: {"score": (3.0, 4), "cost": (7.0, 1)},
        0: {"score": (1.0, 4)},
        1: {"score": (5.0, 4), "score/ru": (0.5, 2)},
    }
    found = estimates(streams, 0.95)
    assert {name: (e.mean, e.n) for name, e in found.items()} == {
        "cost": (7.0, 1),
        "score": (3.0, 3),
        "score/ru": (0.5, 1),
    }
    assert found["cost"].low is None
    assert "portability" not in found


# -- differences --------------------------------------------------------------------------


def test_differences_are_taken_stream_by_stream():
    # differences 2 and 4: mean 3, standard deviation sqrt(2), over sqrt(2) is 1;
    # unpaired, the spread between streams (1 and 100) would swamp it
    ours = trial(streams=values_of(s0=3.0, s1=104.0))
    base = trial(streams=values_of(s0=1.0, s1=100.0))
    estimate = paired_differences(ours.streams, base.streams, 0.95)["score"]
    assert (estimate.mean, estimate.n) == (3.0, 2)
    assert estimate.low == pytest.approx(3 - T_95_ONE, abs=1e-6)


def test_the_difference_is_trial_minus_baseline():
    ours, base = trial(streams=values_of(s0=1.0)), trial(streams=values_of(s0=5.0))
    assert paired_differences(ours.streams, base.streams, 0.95)["score"].mean == -4.0


def test_differences_need_the_stream_and_the_metric_in_both():
    ours = trial(streams=values_of(s0=3.0, s1=9.0) | {2: {"cost": (1.0, 1)}})
    base = trial(streams=values_of(s0=1.0, s2=5.0))
    difference = paired_differences(ours.streams, base.streams, 0.95)
    assert difference == {"score": Estimate(2.0, None, None, 1)}


def test_without_a_common_stream_there_is_no_difference():
    ours, base = trial(streams=values_of(s0=3.0)), trial(streams=values_of(s1=3.0))
    assert paired_differences(ours.streams, base.streams, 0.95) == {}


# -- a study ------------------------------------------------------------------------------


def remembered(number, block, *, baseline=False, state="complete", failure=None):
    return {
        "number": number,
        "label": f"weight={number}",
        "baseline": baseline,
        "state": state,
        "changes": {"weight": number},
        "params": {"weight": number, "units": 1},
        "failure": failure,
        "blocks": [{"block_id": block, "streams": [0], "units": 1}],
    }


def study(ledger, *trials, level=0.95):
    spec = {
        "question": "Is more better?",
        "expect": "yes",
        "measure": {"primary": "score", "interval": {"level": level}},
    }
    ledger.remember_study("a", {"spec": spec, "trials": list(trials)})
    results = StudyResults.load(ledger, "a")
    assert results is not None
    return results


def finish(ledger, block, value, stream=0):
    records = [Record(stream, 0, "x", "score", "", value, 1)]
    ledger.complete(block, records, {stream: {"score": (value, 1)}}, {})


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path))


def test_a_study_that_is_not_there_is_none(ledger):
    assert StudyResults.load(ledger, "a") is None


def test_a_study_has_a_row_for_each_trial_with_a_complete_stream(ledger):
    finish(ledger, "b0", 1.0)
    finish(ledger, "b2", 4.0)
    results = study(
        ledger,
        remembered(0, "b0", baseline=True),
        remembered(1, "b1", state="failed", failure="RuntimeError: no"),
        remembered(2, "b2"),
    )
    assert (results.question, results.expect, results.level) == ("Is more better?", "yes", 0.95)
    assert [one.number for one in results.trials] == [0, 1, 2]
    assert results.trials[1].failure == "RuntimeError: no"
    assert [row.trial.number for row in results.rows()] == [0, 2]
    assert [row.difference for row in results.rows()] == [
        {},  # the baseline
        {"score": Estimate(3.0, None, None, 1)},
    ]


def test_a_row_is_written_as_documented(ledger):
    finish(ledger, "b0", 1.0)
    finish(ledger, "b1", 4.0)
    results = study(ledger, remembered(0, "b0", baseline=True), remembered(1, "b1"))
    assert json.loads(json.dumps(results.rows()[1].to_json(), allow_nan=False)) == {
        "trial": 1,
        "baseline": False,
        "label": "weight=1",
        "state": "complete",
        "pruned_at": None,
        "params": {"weight": 1},
        "metrics": {"score": {"mean": 4.0, "low": None, "high": None, "n": 1}},
        "difference": {"score": {"mean": 3.0, "low": None, "high": None}},
    }


def test_without_a_baseline_there_are_no_differences(ledger):
    finish(ledger, "b0", 1.0)
    results = study(ledger, remembered(0, "b0"))
    assert results.baseline is None
    assert results.rows()[0].difference == {}


def test_records_and_points_are_those_of_the_blocks_that_are_complete(ledger):
    ledger.checkpoint("b0", Segment(1, 1, (), (Point(0, "score", 0, 1.0),), bytes), 1000)
    finish(ledger, "b0", 1.0)
    finish(ledger, "b1", 4.0, stream=1)
    memory = remembered(0, "b0")
    memory["blocks"] += [{"block_id": b, "streams": [1], "units": 1} for b in ("b1", "b2")]
    results = study(ledger, memory)
    [one] = results.trials
    assert [(r.stream, r.value) for r in results.records(one)] == [(0, 1.0), (1, 4.0)]
    assert [timed.timestamp_ms for timed in results.points(one)] == [1000]
    assert results.rows()[0].metrics["score"].mean == 2.5


def test_a_block_whose_records_are_damaged_has_none(ledger, tmp_path):
    finish(ledger, "b0", 1.0)
    [path] = tmp_path.rglob("records.parquet")
    path.write_bytes(b"")
    results = study(ledger, remembered(0, "b0"))
    assert results.records(results.trials[0]) == []
