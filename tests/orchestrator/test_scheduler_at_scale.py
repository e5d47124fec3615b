"""10,000 blocks on 1,000 replicas that are killed, fall silent, lose ledger and nodes."""

import pytest

from benchmarks.scheduling import POISON, simulate
from orchestrator.trials import TrialState


@pytest.fixture(scope="module")
def outcome():
    return simulate(1000, 500, 20)


def test_everything_is_done_once_but_what_cannot_be(outcome):
    failed = [trial for trial in outcome.ended if trial.state is TrialState.FAILED]
    assert [trial.number for trial in failed] == [250]
    assert failed[0].failure.reason == "ActorDiedError: killed"
    assert outcome.pool.launches[POISON] == 6  # its attempts, each of which got nowhere
    assert outcome.pool.completed[POISON] == 0
    assert sum(trial.state is TrialState.COMPLETE for trial in outcome.ended) == 499
    assert set(outcome.pool.completed.values()) == {1}
    others = {f"{number}-{i}" for number in range(500) if number != 250 for i in range(20)}
    assert others <= outcome.pool.completed.keys()


def test_every_kind_of_fault_happened_and_cost_no_more_than_another_try(outcome):
    pool = outcome.pool
    faults = pool.faults.total()
    assert min(pool.faults[kind] for kind in ("killed", "silent", "storage", "node")) >= 10
    assert pool.launches.total() == pool.completed.total() + faults


def test_no_replica_is_idle_while_there_is_something_to_launch(outcome):
    assert outcome.idle_passes == 0


def test_replicas_load_a_model_about_once_each(outcome):
    """Five models, whose trials take turns: in the order of trials each block would load one."""
    starts = 1000 + outcome.pool.faults.total()  # a replica that was replaced is cold
    assert outcome.pool.loads <= 1.2 * starts


def test_the_same_seed_decides_the_same(outcome):
    again = simulate(1000, 500, 20)
    assert again.ended == outcome.ended
    assert again.pool.launches == outcome.pool.launches
