import functools
from contextlib import contextmanager

import pytest
from filelock import FileLock
from sweep_lab import DisorderedExecutor, Killed, Lab, study
from toy_objective import following

from orchestrator import sweep
from orchestrator.errors import InputError, StudyBusyError
from orchestrator.locks import is_running
from orchestrator.tracking.protocol import NullTracker

GRID = study(sweep={"weight": [1.0, 2.0]})  # 2 trials of 2 streams of 3 units
LAST_FIRST = functools.partial(DisorderedExecutor, slots=3, last_first=True)
FIRST_FIRST = functools.partial(DisorderedExecutor, slots=2, last_first=False)


@pytest.fixture
def lab(tmp_path, optuna_db):
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run of ``GRID`` leaves when nothing happens."""
    lab = Lab(tmp_path_factory.mktemp("undisturbed"))
    lab.run(GRID)
    return lab.result_files()


# -- a study that goes well ---------------------------------------------------------------


def test_a_study_runs_to_its_end_and_is_remembered_everywhere(lab):
    report = lab.run(GRID)
    assert (report.state, report.failures) == ("done", ())
    assert lab.states == ["complete", "complete"]
    assert lab.memory["state"] == "done"
    assert lab.memory["unit"] == "numbers"
    assert lab.book_states == ["COMPLETE", "COMPLETE"]

    first = following(0, 0, 0, 0)
    second = following(first, 0, 1, 0)
    third = following(second, 0, 2, 0)
    rows = lab.results.rows()
    score = rows[0].trial.streams[0]["score"]
    assert score == (pytest.approx((first + second + third) / 3000), 3)
    means = [row.metrics["score"].mean for row in rows]
    assert means[1] == pytest.approx(2 * means[0])
    assert rows[1].difference["score"].mean == pytest.approx(means[0])
    assert [trial.values for trial in lab.book] == [[mean] for mean in means]


def test_the_figures_of_a_run_are_those_of_that_run(lab):
    last = lab.run(GRID).last_run
    assert (last.blocks_executed, last.blocks_reused) == (4, 0)
    assert (last.model_loads, last.actors) == (1, 1)
    assert last.units_per_s is not None
    assert lab.memory["last_run"]["blocks_executed"] == 4
    assert lab.watcher.progress[-1] == (12, 12)
    assert lab.watcher.ended == [(0, True), (1, True)]


def test_a_rate_counts_the_time_of_the_first_block_too(lab):
    one_block = study(base={"streams": 1, "wait_ms": 10})  # 3 units
    rate = lab.run(one_block).last_run.units_per_s
    assert 0 < rate <= 100  # each took 10 ms at least, and an inline block ends where it begins


def test_a_study_that_is_done_runs_nothing_and_starts_nothing(lab):
    lab.run(GRID)
    before = lab.result_files()

    def make(plan):
        raise AssertionError("no executor is needed")

    report = lab.run(GRID, make=make)
    assert report.state == "done"
    assert lab.units == []
    assert (report.last_run.blocks_executed, report.last_run.blocks_reused) == (0, 4)
    assert (report.last_run.actors, report.last_run.units_per_s) == (0, None)
    assert lab.result_files() == before
    assert lab.book_states == ["COMPLETE", "COMPLETE"]


def test_another_study_finds_the_cells_that_are_there(lab):
    lab.run(GRID)
    report = lab.run(study(study="b", sweep={"weight": [2.0, 3.0]}))
    assert len(lab.units) == 6
    assert (report.last_run.blocks_executed, report.last_run.blocks_reused) == (2, 2)


def test_more_streams_add_only_their_own_blocks(lab):
    lab.run(GRID)
    lab.run(study(base={"streams": 3}, sweep={"weight": [1.0, 2.0]}))
    assert lab.units == [(2, 0), (2, 1), (2, 2)] * 2


def test_trials_that_come_to_the_same_work_share_it(lab):
    report = lab.run(study(sweep={"wait_ms": [0, 0.01]}), make=LAST_FIRST)
    assert len(lab.units) == 6
    assert report.last_run.blocks_executed == 2
    assert lab.states == ["complete", "complete"]
    assert lab.watcher.progress[-1] == (6, 6)


@pytest.mark.parametrize("make", [LAST_FIRST, FIRST_FIRST])
def test_results_do_not_depend_on_the_order_in_which_blocks_run(lab, undisturbed, make):
    lab.run(GRID, make=make)
    assert lab.result_files() == undisturbed


@pytest.mark.parametrize("needs", [None, "model"])
def test_an_executor_is_made_for_all_missing_blocks_also_if_something_is_built_first(lab, needs):
    base = {"needs": needs, "streams": 2, "per_block": 1}
    lab.run(study(base=base, sweep={"weight": [1.0, 2.0, 3.0]}))
    assert lab.asked_for == [6]


def test_what_the_identity_needs_is_built_once_before_all(lab):
    lab.run(study(base={"needs": "model"}, sweep={"weight": [1.0, 2.0]}))
    assert lab.watcher.stages == [("building", 1, 2), ("building", 2, 2)]
    assert lab.states == ["complete", "complete"]


def test_another_definition_is_another_study_in_the_book(lab):
    lab.run(GRID)
    lab.run(study(sweep={"weight": [3.0]}))
    assert [trial.params for trial in lab.book] == [{"weight": 3.0}]


# -- failures -----------------------------------------------------------------------------


def failing(tmp_path, **sections):
    """A study whose middle trial raises the first time."""
    base = {"once": str(tmp_path), "streams": 1}
    return study(base=base, sweep={"raise_at": [None, 1, 7]}, **sections)


def test_a_failed_trial_does_not_keep_others_from_completing(lab, tmp_path):
    report = lab.run(failing(tmp_path))
    assert report.state == "failed"
    assert lab.states == ["complete", "failed", "complete"]
    assert lab.book_states == ["COMPLETE", "FAIL", "COMPLETE"]
    assert lab.watcher.ended == [(0, True), (1, False), (2, True)]
    [failure] = report.failures
    assert (failure.trial, failure.reason) == (1, "RuntimeError: the toy broke")
    told = lab.memory["trials"][1]["failure"]
    assert told.startswith("RuntimeError: the toy broke\nTraceback")


def test_running_again_tries_what_failed(lab, tmp_path):
    lab.run(failing(tmp_path))
    report = lab.run(failing(tmp_path))
    assert report.state == "done"
    assert len(lab.units) == 3
    assert lab.states == ["complete"] * 3
    assert lab.book_states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert lab.memory["trials"][1]["failure"] is None


@pytest.mark.parametrize(
    ("allowed", "states"),
    [
        # the next one has been launched when the failure is heard of; it stops after one unit
        (0, ["failed", "running", "waiting", "waiting"]),
        (1, ["failed", "failed", "running", "waiting"]),
        (2, ["failed", "failed", "complete", "complete"]),
        (None, ["failed", "failed", "complete", "complete"]),
    ],
)
def test_more_failed_trials_than_the_budget_allows_stop_the_study(lab, allowed, states):
    spec = study(
        base={"streams": 1},
        sweep={"raise_at": [1, 2, 7, 8]},  # of three units
        budget={"max_failed_trials": allowed},
    )
    report = lab.run(spec)
    assert report.state == lab.memory["state"] == "failed"
    assert len(report.failures) == states.count("failed")
    assert lab.states == states


def test_wrong_input_stops_the_study_and_keeps_what_is_done(lab):
    spec = study(base={"streams": 1}, sweep={"refuse_at": [None, 1, 7]})
    tracker = Remembering()
    with pytest.raises(InputError) as caught:
        lab.run(spec, tracker=tracker)
    error = caught.value
    assert error.exit_code == 2
    assert [problem.place for problem in error.problems] == ["weight"]
    assert "complete are kept" in str(error)
    assert lab.states[:2] == ["complete", "failed"]
    assert lab.memory["state"] == "failed"
    assert lab.book_states == ["COMPLETE", "FAIL", "FAIL"]  # nothing is left open
    assert {number: end.complete for number, (_, end) in tracker.ends.items()} == {
        0: True, 1: False, 2: False
    }  # fmt: skip
    assert tracker.closed == ("failed", {}, {})
    assert len(lab.result_files()) == 2
    assert not is_running("a", lab.home)

    with pytest.raises(InputError):
        lab.run(spec)
    assert lab.units == [(0, 0), (0, 1)]  # the first trial is not run again


def test_a_replica_with_a_trace_costs_an_attempt_and_no_result(lab, tmp_path, undisturbed):
    base = {"once": str(tmp_path), "dirty_at": 1}
    report = lab.run(study(base=base, sweep={"weight": [1.0, 2.0]}))
    assert report.state == "done"
    assert report.last_run.model_loads == 2
    assert len(lab.units) == 15  # one block of three twice
    found = {data for name, data in lab.result_files().items() if name.endswith("parquet")}
    assert found == {data for name, data in undisturbed.items() if name.endswith("parquet")}


def test_a_block_that_is_lost_every_time_fails_its_trial(lab):
    report = lab.run(study(base={"dirty_at": 0, "streams": 1}))
    [failure] = report.failures
    assert (failure.attempt, failure.attempts) == (3, 3)
    assert len(lab.units) == 9
    assert lab.result_files() == {}


# -- interruptions ------------------------------------------------------------------------


@pytest.mark.parametrize("n_units", [1, 2, 3, 5, 11])
def test_a_stopped_study_goes_on_where_it_was_to_the_same_bytes(lab, undisturbed, n_units):
    lab.stop_at = n_units
    report = lab.run(GRID)
    assert report.state == "interrupted"
    assert len(lab.units) == n_units
    assert lab.memory["state"] == "interrupted"

    report = lab.run(GRID)
    assert report.state == "done"
    assert len(lab.units) == 12 - n_units
    assert lab.result_files() == undisturbed
    assert lab.book_states == ["COMPLETE", "COMPLETE"]


def test_a_stop_after_the_last_unit_finds_the_study_done(lab):
    lab.stop_at = 12
    assert lab.run(GRID).state == "done"


@pytest.mark.parametrize("n_units", [0, 4, 11])
def test_a_killed_driver_loses_nothing_that_was_complete(lab, undisturbed, n_units):
    lab.kill_at = n_units
    with pytest.raises(Killed):
        lab.run(GRID)
    assert lab.book_states == ["RUNNING", "RUNNING"] if n_units < 6 else ["COMPLETE", "RUNNING"]
    assert lab.run(GRID).state == "done"
    assert len(lab.units) == 12 - n_units // 3 * 3  # whole blocks of three are kept
    assert lab.result_files() == undisturbed
    assert lab.book_states == ["COMPLETE", "COMPLETE"]


# -- one driver ---------------------------------------------------------------------------


@contextmanager
def driven(home, study):
    """Hold a study's lock, as a driver does."""
    locks = home.path / "locks"
    locks.mkdir(exist_ok=True)
    with FileLock(locks / f"{study}.lock", timeout=0):
        yield


def test_a_study_that_another_driver_runs_is_left_alone(lab):
    with driven(lab.home, "a"):
        assert is_running("a", lab.home)
        with pytest.raises(StudyBusyError) as caught:
            lab.run(GRID)
        assert caught.value.exit_code == 2
        assert lab.ledger.study("a") is None
        assert lab.units == []
    assert not is_running("a", lab.home)
    assert lab.run(GRID).state == "done"


def test_another_study_in_the_same_home_may_run(lab):
    with driven(lab.home, "b"):
        assert lab.run(GRID).state == "done"


def test_a_study_is_running_while_it_runs(lab):
    seen = []
    lab.run(study(), artifacts=lambda results: seen.append(is_running("a", lab.home)) or {})
    assert seen == [True]


def test_a_study_that_never_ran_is_not_running(lab):
    assert not is_running("a", lab.home)


# -- what the tracker is told -------------------------------------------------------------


class Remembering(NullTracker):
    def __init__(self):
        self.headers, self.started, self.ends, self.closed = [], [], {}, None

    def open(self, study):
        self.headers.append(study)

    def start_trial(self, trial):
        self.started.append(trial.number)

    def finish_trial(self, trial, end):
        self.ends[trial.number] = (trial, end)

    def finish_study(self, state, metrics, artifacts):
        self.closed = (state, metrics, artifacts)


def test_the_tracker_is_told_all_that_it_shows(lab):
    tracker = Remembering()
    lab.run(GRID, tracker=tracker, artifacts=lambda results: {"n.txt": str(len(results.rows()))})
    assert [header.name for header in tracker.headers] == ["a"]
    assert tracker.started == [0, 1]
    trial, end = tracker.ends[1]
    assert (trial.label, trial.baseline) == ("weight=2.0", False)
    assert (trial.params["weight"], trial.params["units"]) == ("2.0", "3")
    assert trial.datasets == {"toy-numbers": "0123abcd"}
    assert sorted(end.metrics) == [
        "cost", "cost.high", "cost.low", "difference.cost", "difference.score",
        "score", "score.high", "score.low",
    ]  # fmt: skip
    score = lab.results.rows()[1].metrics["score"]
    assert end.metrics["score.low"] == score.low
    assert [(p.point.stream, p.point.step) for p in end.points] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)
    ]  # fmt: skip
    assert (end.complete, end.failure) == (True, None)
    assert end.timestamp_ms >= max(p.timestamp_ms for p in end.points)

    state, metrics, artifacts = tracker.closed
    difference = lab.results.rows()[1].difference
    assert state == "done"
    assert metrics[trial.trial_id] == {
        "difference.score": difference["score"].mean,
        "difference.cost": difference["cost"].mean,
    }
    assert metrics[trial.trial_id].items() <= end.metrics.items()
    assert artifacts == {"n.txt": "2"}


def test_actors_are_given_work_between_any_two_things_that_the_tracker_is_told(lab):
    log = []

    class Noting(DisorderedExecutor):
        def poll(self, timeout_s):
            log.append(("poll", self.free))
            return super().poll(timeout_s)

    class Slow(Remembering):
        def start_trial(self, trial):
            log.append(("told", trial.number))

        finish_trial = lambda self, trial, end: self.start_trial(trial)  # noqa: E731

    spec = study(base={"streams": 1}, sweep={"weight": [1.0, 2.0, 3.0, 4.0, 5.0]})
    lab.run(spec, make=functools.partial(Noting, slots=2, last_first=False), tracker=Slow())
    kinds = [kind for kind, _ in log]
    assert kinds.count("told") == 10
    last_poll = len(kinds) - kinds[::-1].index("poll")
    assert "told told" not in " ".join(kinds[:last_poll])
    assert [free for kind, free in log if kind == "poll"][:4] == [0, 0, 0, 0]  # never idle


def test_what_the_tracker_is_to_be_told_does_not_pile_up(lab, monkeypatch):
    monkeypatch.setattr(sweep, "_MOST_CHORES", 2)
    tracker, waiting = Remembering(), []

    def artifacts(results):
        waiting.append(sorted(tracker.ends))
        return {}

    class Watched(DisorderedExecutor):
        def poll(self, timeout_s):
            waiting.append(len(lab.watcher.ended) - len(tracker.ends))
            return super().poll(timeout_s)

    spec = study(base={"streams": 1}, sweep={"weight": [float(n) for n in range(8)]})
    make = functools.partial(Watched, slots=3, last_first=False)
    lab.run(spec, make=make, tracker=tracker, artifacts=artifacts)
    assert max(waiting[:-1]) <= 3  # two, and what the last pass has brought
    assert waiting[-1] == list(range(8))  # all is told before the study's tables are drawn


def test_the_tracker_is_told_the_same_again_by_a_run_that_runs_nothing(lab):
    first, second = Remembering(), Remembering()
    lab.run(GRID, tracker=first)
    lab.run(GRID, tracker=second)
    assert second.ends == first.ends
    assert second.closed == first.closed


def test_a_trial_that_ends_before_the_baseline_gets_its_difference_with_the_study(lab):
    tracker = Remembering()
    lab.run(GRID, tracker=tracker, make=LAST_FIRST)
    assert list(tracker.ends) == [1, 0]
    trial, end = tracker.ends[1]
    assert not any(name.startswith("difference.") for name in end.metrics)
    assert sorted(tracker.closed[1][trial.trial_id]) == ["difference.cost", "difference.score"]


def test_one_stream_has_no_interval_to_show(lab):
    tracker = Remembering()
    lab.run(study(base={"streams": 1}), tracker=tracker)
    assert sorted(tracker.ends[0][1].metrics) == ["cost", "score"]


# -- searches -----------------------------------------------------------------------------


def search(base=None, **changes):
    settings = {
        "trials": 14,  # the sampler draws at random for ten, then learns
        "sampler": "tpe",
        "parallel": 3,
        "space": {"weight": {"low": 0.0, "high": 1.0}, "seed": {"low": 0, "high": 9}},
        "objectives": {"score": "maximize"},
        **changes,
    }
    return study(base={"streams": 1, "units": 1, **(base or {})}, search=settings)


def choices(lab):
    return [trial["changes"] for trial in lab.memory["trials"]]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """What a search chooses and leaves when nothing happens."""
    lab = Lab(tmp_path_factory.mktemp("searched"))
    report = lab.run(search())
    assert report.state == "done"
    return choices(lab), lab.result_files()


def test_a_search_runs_all_its_trials(lab, searched):
    chosen, _ = searched
    assert len({one["weight"] for one in chosen}) == 14


@pytest.mark.parametrize("make", [LAST_FIRST, FIRST_FIRST])
def test_a_search_chooses_the_same_whatever_order_trials_end_in(lab, searched, make):
    assert lab.run(search(), make=make).state == "done"
    assert (choices(lab), lab.result_files()) == searched


@pytest.mark.parametrize("slots", [1, 3])
def test_a_search_stopped_at_every_unit_chooses_as_an_undisturbed_one(lab, searched, slots):
    make = functools.partial(DisorderedExecutor, slots=slots, last_first=True)
    lab.stop_at = 9
    state, n_runs = lab.run(search(), make=make).state, 1
    while state != "done":
        lab.stop_at = 1
        state, n_runs = lab.run(search(), make=make).state, n_runs + 1
        assert n_runs < 10
    assert n_runs > 2
    assert (choices(lab), lab.result_files()) == searched
    assert lab.book_states == ["COMPLETE"] * 14


def test_a_search_killed_at_every_unit_chooses_as_an_undisturbed_one(lab, searched):
    for n_units in (10, 1, 1, 1):
        lab.kill_at = n_units
        with pytest.raises(Killed):
            lab.run(search())
    assert lab.run(search()).state == "done"
    assert (choices(lab), lab.result_files()) == searched
    assert lab.book_states == ["COMPLETE"] * 14


def test_a_search_stopped_when_nothing_of_it_runs_is_not_done(lab):
    spec = search(base={"units": 2}, trials=6, parallel=1)
    lab.stop_at = 2  # within the last unit of the first trial, which goes on to its end
    assert lab.run(spec).state == "interrupted"
    assert (lab.states, lab.memory["state"]) == (["complete"], "interrupted")
    assert lab.run(spec).state == "done"
    assert lab.states == ["complete"] * 6


@pytest.mark.parametrize("spec", [GRID, search(trials=2)], ids=["planned", "search"])
def test_a_study_stopped_while_it_prepares_has_done_nothing(lab, spec):
    spec = study(**{**spec.model_dump(), "base": {**spec.base, "needs": "model"}})
    lab.stop_at = 0
    tracker = Remembering()
    report = lab.run(spec, tracker=tracker)
    assert (report.state, lab.units, lab.ledger.study("a")) == ("interrupted", [], None)
    assert lab.watcher.stages == [("building", 1, 2)]
    assert tracker.closed == ("interrupted", {}, {})
    assert lab.run(spec).state == "done"
    assert lab.states == ["complete", "complete"]


def test_a_search_that_is_done_is_done_when_it_is_run_again(lab):
    lab.run(search(trials=3))
    tracker = Remembering()
    report = lab.run(search(trials=3), tracker=tracker)
    assert report.state == "done"
    assert lab.units == []
    assert lab.states == ["complete"] * 3
    assert sorted(tracker.ends) == [0, 1, 2]
    assert lab.book_states == ["COMPLETE"] * 3


def test_a_failed_trial_of_a_search_is_tried_again_without_steering_it_otherwise(lab, tmp_path):
    spec = search(base={"raise_at": 0, "once": str(tmp_path)}, trials=3, parallel=1)
    assert lab.run(spec).state == "failed"
    assert lab.states == ["failed", "complete", "complete"]
    assert lab.book_states == ["FAIL", "COMPLETE", "COMPLETE"]
    chosen = choices(lab)

    assert lab.run(spec).state == "done"
    assert len(lab.units) == 1
    assert lab.states == ["complete"] * 3
    assert choices(lab) == chosen
    assert lab.book_states == ["FAIL", "COMPLETE", "COMPLETE"]


def test_wrong_input_does_not_steer_a_search(lab, tmp_path):
    spec = search(base={"refuse_at": 0, "once": str(tmp_path)}, trials=3)
    with pytest.raises(InputError):
        lab.run(spec)
    assert lab.run(spec).state == "done"  # mended
    assert lab.book_states == ["COMPLETE"] * 3


def test_a_search_over_its_budget_of_failures_stops(lab):
    settings = search(base={"units": 2, "raise_at": 1}, trials=5, parallel=2).model_dump()
    spec = study(**settings | {"budget": {"max_failed_trials": 1}})
    report = lab.run(spec)
    assert (report.state, len(report.failures)) == ("failed", 2)
    assert len(lab.units) == 5  # two that failed, and one unit of a third


def test_a_search_weighs_several_objectives_and_fails_what_lacks_one(lab):
    objectives = {"score": "maximize", "cost": "minimize"}
    space = {"cost": [True, False]}
    lab.run(search(trials=6, objectives=objectives, space=space))
    for trial in lab.book:
        assert trial.state.name == ("COMPLETE" if trial.params["cost"] else "FAIL")
    both = next(trial for trial in lab.book if trial.params["cost"])
    value = following(0, 0, 0, 0) / 1000
    assert both.values == [value, value]
    assert lab.states == ["complete"] * 6


def test_a_search_begins_with_the_baseline(lab):
    settings = search(trials=2).model_dump()
    settings["measure"] = {"primary": "score", "baseline": {"weight": 0.5}}
    lab.run(study(**settings))
    assert choices(lab)[0] == {"weight": 0.5, "seed": 0}
    assert [trial.baseline for trial in lab.results.trials] == [True, False]
