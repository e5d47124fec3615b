"""A driver that helps another one."""

import pytest
from sweep_lab import Killed, Lab, study
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
    """A joined driver in this process; stops when it has nothing left but what is taken."""

    def __init__(self, lab, *, n_blocks=None):
        self.lab, self.units, self.n_blocks = lab, [], n_blocks
        self.stop = StopRequest()

    def join(self, spec=GRID):
        objective = ToyObjective(lambda stream, position: self.units.append((stream, position)))

        def make(n_blocks, session):
            site = Site(self.lab.home.cache, "cpu", 1)
            plan = ReplicaPlan(objective, self.lab.home.ledger, site, session=session)
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


def test_nobody_is_helped_where_nobody_runs_the_study(lab):
    with pytest.raises(InputError, match="run it without --join"):
        Helper(lab).join()
    lab.run(GRID)
    with pytest.raises(InputError, match="run it without --join"):
        Helper(lab).join()


def helped(lab, helper, spec=GRID):
    """Run a study whose driver, in its first block, is joined by a helper."""
    reports = []

    def join():
        if not reports:
            reports.append(None)
            reports[0] = helper.join(spec)

    lab.meanwhile = join
    return lab.run(GRID), reports[0]


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


def test_a_helper_whose_driver_is_gone_finishes_what_it_knows_and_says_so(lab):
    lab.kill_at = 4
    with pytest.raises(Killed):
        lab.run(GRID)
    left = Roster(lab.ledger, "a", "main", lambda: 0.0)
    left.enter()
    helper = Helper(lab)
    once = iter([True])
    helper.progressed = lambda n_units, total: next(once, None) and left.leave()
    report = helper.join()
    assert report.state == "orphaned"
    assert report.blocks_executed == 3
    assert lab.memory["state"] == "running"  # that is for the next driver to say
    lab.run(GRID)
    assert lab.units == []
