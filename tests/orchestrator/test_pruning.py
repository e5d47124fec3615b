"""Searches that prune: the same trials at the same steps, whatever happens meanwhile."""

import dataclasses
import random
import shutil
from contextlib import contextmanager

import pytest
import sqlalchemy
from sweep_lab import Killed, Lab, study

from orchestrator.executors.inline import InlineExecutor
from orchestrator.status import study_status
from orchestrator.tracking.protocol import NullTracker

MEDIAN = {"name": "median", "startup_trials": 2, "warmup_steps": 1}
HALVING = {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2}


class Interleaved:
    """Several replicas; each poll lets one that is drawn go on to its next checkpoint."""

    def __init__(self, plan, *, slots, seed=0, every_s=0.0):
        plan = dataclasses.replace(plan, checkpoint_every_s=every_s)
        self._replicas = [InlineExecutor(plan) for _ in range(slots)]
        self._draw = random.Random(seed)
        self.polled = lambda: None

    def start(self):
        for replica in self._replicas:
            replica.start()

    def prepare(self, params, progress):
        self._replicas[0].prepare(params, progress)

    @property
    def free(self):
        return sum(replica.free for replica in self._replicas)

    @property
    def holds(self):
        return tuple(held for replica in self._replicas for held in replica.holds)

    def abandon(self, block_id):
        raise AssertionError("nothing here is silent")

    def launch(self, item):
        self._draw.choice([replica for replica in self._replicas if replica.free]).launch(item)

    def poll(self, timeout_s):
        self.polled()
        busy = [replica for replica in self._replicas if not replica.free]
        return self._draw.choice(busy).poll(0) if busy else []

    def cancel(self, block_ids):
        for replica in self._replicas:
            replica.cancel(block_ids)

    def progress(self):
        return {}

    def ask_to_stop(self):
        for replica in self._replicas:
            replica.ask_to_stop()

    def close(self):
        for replica in self._replicas:
            replica.close()

    @property
    def telemetry(self):
        return self._replicas[0].telemetry

    @property
    def n_actors(self):
        return len(self._replicas)

    @property
    def model_loads(self):
        return sum(replica.model_loads for replica in self._replicas)


def interleaved(**settings):
    return lambda plan: Interleaved(plan, **settings)


def search(pruner=MEDIAN, base=None, trials=13, **changes):
    settings = {
        "trials": trials,  # the sampler draws at random for ten, then learns
        "sampler": "tpe",
        "parallel": 2,
        "space": {"weight": {"low": 0.0, "high": 1.0}, "seed": {"low": 0, "high": 3}},
        "objectives": {"score": "maximize"},
        "pruner": pruner,
        **changes,
    }
    return study(
        base={"streams": 2, "units": 4, **(base or {})},
        search=settings,
        resources={"checkpoint_every_s": 0.0},
    )


def told(trial):
    return trial.state.name, trial.values, trial.intermediate_values, trial.system_attrs


def outcome(lab):
    """All that a search has found: its trials here and in Optuna, and the complete ones' records.

    What pruned trials had measured beyond where they end is no part of it.
    """
    trials = lab.memory["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    blocks = {block["block_id"] for trial in complete for block in trial["blocks"]}
    files = {
        name: data for name, data in lab.result_files().items() if name.split("/")[1] in blocks
    }
    return (
        [(trial["state"], trial["pruned_at"], trial["changes"]) for trial in trials],
        [told(trial) for trial in lab.book],
        files,
    )


@pytest.fixture
def lab(tmp_path, optuna_db):
    return Lab(tmp_path)


@pytest.fixture(scope="module")
def another_lab(tmp_path_factory, _empty_optuna):
    """Makes further labs."""

    def make():
        folder = tmp_path_factory.mktemp("lab")
        shutil.copy(_empty_optuna, folder / "optuna.db")
        return Lab(folder)

    return make


@pytest.fixture(scope="module")
def undisturbed(another_lab):
    """What the search leaves when nothing happens."""
    lab = another_lab()
    assert lab.run(search(), make=interleaved(slots=1)).state == "done"
    return outcome(lab)


@pytest.fixture(scope="module", params=["median", "successive_halving"])
def either(request, undisturbed, another_lab):
    """A search by either pruner, and what it leaves when nothing happens."""
    if request.param == "median":
        return search(), undisturbed
    lab = another_lab()
    assert lab.run(search(HALVING), make=interleaved(slots=1)).state == "done"
    return search(HALVING), outcome(lab)


# -- what is pruned -----------------------------------------------------------------------


def test_a_search_prunes_some_trials_and_completes_others(either):
    trials, _, files = either[1]
    states = [state for state, _, _ in trials]
    assert {"pruned", "complete"} == set(states)
    assert len(files) == 4 * states.count("complete")  # records and result of two blocks
    assert all((at is not None) == (state == "pruned") for state, at, _ in trials)


def test_optuna_knows_pruned_trials_with_their_curves(either):
    trials, book, _ = either[1]
    for (state, pruned_at, _), (told_state, values, curve, _) in zip(trials, book, strict=True):
        assert told_state == state.upper()
        if state == "complete":
            assert list(curve) == [0, 1, 2, 3]
            assert values == [pytest.approx(curve[3])]  # the mean so far ends as the metric
        else:
            assert list(curve) == list(range(pruned_at["step"] + 1))
            assert values == [curve[pruned_at["step"]]] == [pruned_at["value"]]


def test_the_median_of_the_trials_told_when_it_was_asked_for_prunes_a_trial(lab):
    """Two at a time: the fifth, at 0.2, is judged by 0.6, 0.2 and 1.0, the eighth by all."""
    space = {"weight": [0.2, 0.4, 0.6, 0.8, 1.0]}  # values are in proportion to it
    spec = search(
        MEDIAN | {"startup_trials": 3, "warmup_steps": 0}, sampler="random", trials=8, space=space
    )
    lab.run(spec, make=interleaved(slots=3))
    drawn = [trial["changes"]["weight"] for trial in lab.memory["trials"]]
    assert drawn == [0.6, 0.2, 1.0, 0.4, 0.2, 0.8, 0.6, 0.6]
    assert [number for number, state in enumerate(lab.states) if state == "pruned"] == [4]
    assert lab.memory["trials"][4]["pruned_at"]["step"] == 0


def test_pruning_spares_work_and_keeps_the_checkpoints(lab):
    report = lab.run(search(), make=interleaved(slots=2))
    spared = report.last_run.units_spared
    assert spared > 0
    assert len(lab.units) == 13 * 8 - spared
    done, total = lab.watcher.progress[-1]
    assert done == total
    pruned = [trial for trial in lab.memory["trials"] if trial["state"] == "pruned"]
    assert [number for number, _ in lab.watcher.pruned] == [trial["number"] for trial in pruned]
    left = [
        b["block_id"] for t in pruned for b in t["blocks"] if not lab.ledger.result(b["block_id"])
    ]
    assert left
    assert all(lab.ledger.resume(block) for block in left)


def test_the_baseline_is_followed_and_never_pruned(lab):
    pruner = MEDIAN | {"startup_trials": 1}
    settings = search(pruner, trials=6, sampler="random", seed=11).model_dump()
    settings["search"]["space"] = {"weight": [0.1, 0.9]}
    settings["measure"] = {"primary": "score", "baseline": {"weight": 0.1}}
    lab.run(study(**settings), make=interleaved(slots=1))
    drawn = [trial["changes"]["weight"] for trial in lab.memory["trials"]]
    assert drawn == [0.1, 0.9, 0.9, 0.9, 0.1, 0.9]  # the fifth is judged by 0.1, 0.9 and 0.9
    assert lab.states == ["complete"] * 6
    assert all(len(trial.intermediate_values) == 4 for trial in lab.book)


def test_without_a_pruner_the_book_is_told_no_curves(lab):
    lab.run(search(None, trials=3))
    assert [trial.intermediate_values for trial in lab.book] == [{}, {}, {}]


# -- the same whatever happens ------------------------------------------------------------


@pytest.mark.parametrize(("slots", "seed"), [(1, 1), (2, 2), (4, 3)])
def test_the_order_of_events_and_the_number_of_actors_do_not_matter(lab, either, slots, seed):
    spec, expected = either
    lab.run(spec, make=interleaved(slots=slots, seed=seed))
    assert outcome(lab) == expected


def test_trials_that_ran_to_their_end_before_anybody_looked_are_pruned_all_the_same(lab, either):
    spec, expected = either
    report = lab.run(spec, make=interleaved(slots=1, every_s=1e9))
    assert outcome(lab) == expected
    assert report.state == "done"
    pruned = [t for t in lab.memory["trials"] if t["state"] == "pruned"]
    last = pruned[-1]["blocks"]
    assert sum(lab.ledger.is_complete(block["block_id"]) for block in last) >= 1
    assert all(trial.streams == {} for trial in lab.results.trials if trial.pruned_at)


def test_a_pruned_trial_all_of_whose_blocks_are_complete_is_no_complete_one(lab):
    one_block = search(base={"per_block": 2})
    lab.run(one_block, make=interleaved(slots=1, every_s=1e9))
    assert lab.states.count("pruned") > 0
    status = study_status("a", lab.memory, lab.home)
    assert status["trials"]["pruned"] == lab.states.count("pruned")
    assert status["blocks"] == {
        "waiting": 0, "running": 0, "complete": 13, "failed": 0, "pruned": 0
    }  # fmt: skip
    shown = [row.trial.number for row in lab.results.rows()]
    assert shown == [n for n, state in enumerate(lab.states) if state == "complete"]
    listed = lab.results.listed()
    assert [row.trial.state for row in listed] == lab.states
    assert all(row.metrics == {} for row in listed if row.trial.state == "pruned")


def test_a_search_stopped_again_and_again_ends_as_an_undisturbed_one(lab, undisturbed):
    state, n_runs = "", 0
    while state != "done":
        lab.stop_at = 17
        state = lab.run(search(), make=interleaved(slots=3, seed=n_runs)).state
        n_runs += 1
    assert n_runs > 3
    assert outcome(lab) == undisturbed


def run_and_kill(lab, spec, expected, every):
    """Kill the driver again and again, after so many units, until the search is done."""
    n_runs, done = 0, False
    while not done:
        lab.kill_at = every
        try:
            done = lab.run(spec, make=interleaved(slots=2, seed=n_runs)).state == "done"
        except Killed:
            n_runs += 1
    assert outcome(lab) == expected
    return n_runs


def test_a_search_killed_again_and_again_ends_as_an_undisturbed_one(lab, either):
    assert run_and_kill(lab, *either, every=13) > 3


@pytest.mark.slow
def test_a_search_killed_at_every_unit_ends_as_an_undisturbed_one(lab, either):
    assert run_and_kill(lab, *either, every=1) > 50


@pytest.mark.parametrize("first", [1, 45])
def test_a_driver_killed_between_two_passes_comes_to_the_same(lab, undisturbed, first):
    for number in (first, 1, 4):
        polls = iter(range(number))

        def polled(polls=polls):
            if next(polls, None) is None:
                raise Killed

        def make(plan, polled=polled):
            executor = Interleaved(plan, slots=2)
            executor.polled = polled
            return executor

        with pytest.raises(Killed):
            lab.run(search(), make=make)
    assert lab.run(search(), make=interleaved(slots=2)).state == "done"
    assert outcome(lab) == undisturbed


@contextmanager
def dying_after(n_writes):
    """Let the driver die in place of a further write to its book."""
    left = n_writes

    def execute(connection, cursor, statement, *rest):
        nonlocal left
        left -= statement.startswith(("INSERT", "UPDATE"))
        if left < 0:
            raise Killed

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", execute)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", execute)


def test_a_driver_killed_between_two_writes_of_its_book_comes_to_the_same(lab, undisturbed):
    """Between two values of a curve, and between a curve and the end of its trial."""
    half_told, done, n_runs = 0, False, 0
    while not done:
        try:
            with dying_after(17 + n_runs % 5):
                done = lab.run(search(), make=interleaved(slots=2, seed=n_runs)).state == "done"
        except Killed:
            n_runs += 1
            half_told += any(t.state.name == "RUNNING" and t.intermediate_values for t in lab.book)
    assert half_told > 0
    assert outcome(lab) == undisturbed


def test_what_a_broken_replica_measured_prunes_nothing(lab, another_lab, tmp_path):
    """The sixth trial's replica breaks at the very unit that prunes it.

    That is found out when it stops: its points are gone, are measured anew, and judged anew.
    """
    space = {"weight": [0.2, 0.4, 0.6, 0.8, 1.0], "dirty_at": [99, 4]}
    found = []
    for place, has_happened in ((another_lab(), True), (lab, False)):
        marks = tmp_path / str(has_happened)
        marks.mkdir()
        if has_happened:
            (marks / "dirty").touch()
        base = {"per_block": 2, "once": str(marks)}
        pruner = MEDIAN | {"warmup_steps": 0}
        spec = search(pruner, base, trials=7, sampler="random", seed=3, space=space)
        report = place.run(spec, make=interleaved(slots=1))
        assert report.state == "done"
        found.append((outcome(place), report.last_run.model_loads))
    (expected, loads), (after, more_loads) = found
    assert (loads, more_loads) == (1, 2)
    assert after == expected
    trials = lab.memory["trials"]
    assert [(t["state"], t["changes"]["dirty_at"]) for t in trials[:6]] == [
        *[("complete", 99)] * 5,
        ("pruned", 4),
    ]
    assert trials[5]["pruned_at"]["step"] == 0


def test_a_block_whose_replica_is_broken_every_time_fails_its_trial_and_is_not_tried_for_ever(lab):
    report = lab.run(search(base={"dirty_at": 3, "streams": 1}), make=interleaved(slots=2))
    assert report.state == "failed"
    assert set(lab.states) == {"failed"}


def test_a_failed_trial_is_judged_by_nobody_and_tried_again(lab, tmp_path):
    base = {"raise_at": 0, "once": str(tmp_path / "marks")}
    (tmp_path / "marks").mkdir()
    assert lab.run(search(base=base), make=interleaved(slots=1)).state == "failed"
    [failed] = [n for n, state in enumerate(lab.states) if state == "failed"]
    assert told(lab.book[failed])[0] == "FAIL"
    assert lab.book[failed].intermediate_values == {}
    before = outcome(lab)
    assert lab.run(search(base=base), make=interleaved(slots=3)).state == "done"
    after = outcome(lab)
    others = [n for n in range(13) if n != failed]
    assert [after[0][n] for n in others] == [before[0][n] for n in others]
    assert after[1] == before[1]


def test_a_search_that_is_done_prunes_the_same_without_running_anything(lab, either):
    spec, expected = either
    lab.run(spec, make=interleaved(slots=2))

    def make(plan):
        raise AssertionError("no executor is needed")

    assert lab.run(spec, make=make).state == "done"
    assert lab.units == []
    assert outcome(lab) == expected


def test_trials_that_come_to_the_same_work_are_judged_apart(lab, another_lab):
    """The best weight is drawn again and again: one trial's end does not end another's blocks."""
    spec = search(MEDIAN | {"startup_trials": 1}, parallel=4, space={"weight": [0.1, 0.5, 0.9]})
    lab.run(spec, make=interleaved(slots=4, seed=5))
    expected = outcome(lab)
    assert "pruned" in lab.states
    for trial in lab.memory["trials"]:
        if trial["state"] == "complete":
            assert all(lab.ledger.is_complete(block["block_id"]) for block in trial["blocks"])
    again = another_lab()
    again.run(spec, make=interleaved(slots=1))
    assert outcome(again) == expected


# -- what others are told -----------------------------------------------------------------


class Remembering(NullTracker):
    def __init__(self):
        self.ends = {}

    def finish_trial(self, trial, end):
        self.ends[trial.number] = end


def test_the_tracker_gets_the_curve_up_to_where_a_trial_was_pruned_and_no_result(lab, another_lab):
    early, late = Remembering(), Remembering()
    lab.run(search(), make=interleaved(slots=2), tracker=early)
    another_lab().run(search(), make=interleaved(slots=1, every_s=1e9), tracker=late)
    pruned = [n for n, state in enumerate(lab.states) if state == "pruned"]
    for number in pruned:
        step = lab.memory["trials"][number]["pruned_at"]["step"]
        places = []
        for tracker in (early, late):
            end = tracker.ends[number]
            assert (end.state, end.metrics, end.failure) == ("pruned", {}, None)
            assert end.timestamp_ms >= max(p.timestamp_ms for p in end.points)
            places.append(sorted((p.point.stream, p.point.step, p.point.value) for p in end.points))
        assert places[0] == places[1]
        assert [place[:2] for place in places[0]] == [
            (stream, s) for stream in range(2) for s in range(step + 1)
        ]
    assert {end.state for end in early.ends.values()} == {"pruned", "complete"}
