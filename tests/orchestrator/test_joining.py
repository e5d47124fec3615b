"""A driver that helps another one."""

import random

import pytest
from sweep_lab import Killed, Lab, pruned_search, study
from toy_objective import ToyObjective

from orchestrator.errors import InputError
from orchestrator.executors.inline import InlineExecutor
from orchestrator.executors.replica import ReplicaPlan
from orchestrator.joining import join_sweep
from orchestrator.objective import Site
from orchestrator.sessions import Roster
from orchestrator.surroundings import StopRequest, Surroundings
from orchestrator.tracking.protocol import NullTracker

GRID = study(sweep={"weight": [1.0, 2.0]})  # 2 trials of 2 streams of 3 units


class Clock:
    now_s = 0.0

    def __call__(self):
        self.now_s += 0.5
        return self.now_s


@pytest.fixture
def lab(tmp_path, optuna_db):
    return Lab(tmp_path)


class Helper:
    """A joined driver in this process; stops after so many blocks, or looks at its work."""

    def __init__(self, lab, *, n_blocks=None, n_looks=None, objective=ToyObjective):
        self.lab, self.units, self.n_blocks, self.n_looks = lab, [], n_blocks, n_looks
        self.stop, self.objective = StopRequest(), objective

    def join(self, spec=GRID):
        objective = self.objective(lambda stream, at: self.units.append((stream, at)))

        def make(n_blocks, session):
            site = Site(self.lab.home.cache, "cpu", 1, origin=self.lab.home.cache)
            every_s = spec.resources.checkpoint_every_s
            plan = ReplicaPlan(objective, self.lab.home.ledger, site, every_s, session)
            return InlineExecutor(plan)

        around = Surroundings(
            make_executor=make,
            tracker=NullTracker(),
            watcher=self,
            stop=self.stop,
            tags={},
            artifacts=lambda results: {},
            clock=Clock(),
            poll_s=0.0,
        )
        return join_sweep(spec, objective, self.lab.ledger, around)

    def progressed(self, n_units, total):
        if self.n_blocks is not None and n_units >= 3 * self.n_blocks:
            self.stop.ask()
        if self.n_looks is not None:
            self.n_looks -= 1
            if self.n_looks == 0:
                self.stop.ask()


def test_nobody_is_helped_where_nobody_runs_the_study(lab):
    with pytest.raises(InputError, match="run it without --join"):
        Helper(lab).join()
    lab.run(GRID)
    with pytest.raises(InputError, match="run it without --join"):
        Helper(lab).join()


def helped(lab, helper, spec=GRID, *, driven=GRID):
    """Run a study whose driver, in its first block, is joined by a helper."""
    reports = []

    def join():
        if not reports:
            reports.append(None)
            reports[0] = helper.join(spec)

    lab.meanwhile = join
    return lab.run(driven), reports[0]


def test_what_a_helper_has_run_is_not_run_again(lab, tmp_path_factory):
    alone = Lab(tmp_path_factory.mktemp("alone"))
    alone.run(GRID)
    helper = Helper(lab, n_blocks=2)
    report, helped_report = helped(lab, helper)
    assert (report.state, helped_report.state) == ("done", "interrupted")
    assert helped_report.blocks_executed == 2
    assert lab.result_files() == alone.result_files()
    assert len(helper.units) >= 6
    assert len(lab.units) + len(helper.units) == 12  # nothing was done twice
    assert lab.states == ["complete", "complete"]
    assert lab.book_states == ["COMPLETE", "COMPLETE"]


def test_a_helper_begins_at_the_other_end_and_leaves_alone_what_is_taken(lab):
    helper = Helper(lab, n_blocks=1)
    helped(lab, helper)
    assert helper.units[:3] == [(1, 0), (1, 1), (1, 2)]  # the last trial's last stream


def test_another_version_of_the_study_is_not_joined(lab):
    with pytest.raises(InputError, match="other trials"):
        helped(lab, Helper(lab), study(sweep={"weight": [1.0, 3.0]}))


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_a_helper_whose_driver_is_gone_finishes_what_it_knows_and_says_so(lab, state):
    if state == "running":
        lab.kill_at = 4
        with pytest.raises(Killed):
            lab.run(GRID)
    else:  # the next driver has not noted yet that it runs
        lab.stop_at = 4
        lab.run(GRID)
    left = Roster(lab.ledger, "a", "main", lambda: 0.0)
    left.enter()
    helper = Helper(lab)
    once = iter([True])
    helper.progressed = lambda n_units, total: next(once, None) and left.leave()
    report = helper.join()
    assert report.state == "orphaned"
    assert report.blocks_executed == 3
    assert lab.memory["state"] == state  # that is for the next driver to say
    lab.run(GRID)
    assert lab.units == []


PRUNED = pruned_search(trials=13, sampler="tpe")


def outcome(lab):
    """What a search has found: its trials, and the records of those that were not pruned."""
    trials = lab.memory["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    return (
        [(trial["state"], trial["pruned_at"], trial["changes"]) for trial in trials],
        [lab.ledger.records(b["block_id"]) for trial in complete for b in trial["blocks"]],
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_is_helped_prunes_as_one_that_is_not(lab, tmp_path_factory, seed):
    alone = Lab(tmp_path_factory.mktemp("alone"))
    alone.run(PRUNED)
    draw, helpers = random.Random(seed), []

    def help_now_and_then():
        if draw.random() < 0.3:
            helpers.append(Helper(lab, n_looks=draw.randint(2, 12)))
            helpers[-1].join(PRUNED)

    lab.meanwhile = help_now_and_then
    lab.run(PRUNED, checkpoint_every_s=0.0)
    assert outcome(lab) == outcome(alone)
    assert "pruned" in lab.states
    assert sum(len(helper.units) for helper in helpers) >= 5


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_a_helper_leaves_a_trial_that_has_ended(lab, state):
    spec = study(base={"streams": 1, "units": 50}, resources={"checkpoint_every_s": 0.0})
    lab.kill_at = 1
    with pytest.raises(Killed):
        lab.run(spec, checkpoint_every_s=0.0)
    roster = Roster(lab.ledger, "a", "main", lambda: 0.0)
    roster.enter()
    helper = Helper(lab)

    def end_the_trial(n_units, total):
        if len(helper.units) == 3:
            memory = lab.memory
            memory["trials"][0]["state"] = state
            lab.ledger.remember_study("a", {**memory, "state": "done"})
            roster.leave()

    helper.progressed = end_the_trial
    report = helper.join(spec)
    assert (report.state, report.blocks_executed) == ("done", 0)
    assert 3 <= len(helper.units) < 20


def claims(lab):
    return list((lab.folder / "ledger" / "work").glob("*/claim.json"))


def test_what_fails_on_a_helper_is_free_for_the_driver(lab, tmp_path):
    spec = study(sweep={"weight": [1.0, 2.0]}, base={"raise_at": 1, "once": str(tmp_path / "once")})
    (tmp_path / "once").mkdir()
    helper, left = Helper(lab), []

    def look_at_claims(n_units, total):
        left.append(claims(lab))
        if helper.units and len(left) > 5:
            helper.stop.ask()

    helper.progressed = look_at_claims
    report, joined = helped(lab, helper, spec, driven=spec)
    assert [failure.trial for failure in joined.failures] == [1]
    assert len(left[-1]) == 1  # the driver's own, of the block in which it was joined
    assert report.state == "done"


class OtherModels(ToyObjective):
    def identity(self, params, cache):
        return {**super().identity(params, cache), "model": "trained on another processor"}


def test_a_helper_with_other_models_does_nothing(lab, tmp_path_factory):
    alone = Lab(tmp_path_factory.mktemp("alone"))
    alone.run(GRID)
    helper = Helper(lab, objective=OtherModels)
    seen = []

    def join():
        if not seen:
            seen.append(None)
            with pytest.raises(InputError, match="not those that the driver found"):
                helper.join()

    lab.meanwhile = join
    assert lab.run(GRID).state == "done"
    assert helper.units == []
    assert lab.result_files() == alone.result_files()
    assert len(lab.units) == 12
