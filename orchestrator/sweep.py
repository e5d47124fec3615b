"""The driver: one loop that ties study, book, scheduler, executor, ledger and tracker.

It is single-threaded, and the only writer of the book and the tracker. Everything it knows can
be had again from the book and the ledger, so that killing it at any point loses nothing.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

from orchestrator.databases import quick_commits
from orchestrator.endurance import RetryPolicy
from orchestrator.errors import InputError
from orchestrator.exclusive import nobody_else_drives
from orchestrator.executors.on_demand import OnDemandExecutor
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.observer import SweepObserver
from orchestrator.outages import passing_over_outages
from orchestrator.plan import TrialPlan, expand, get_path, trial_for
from orchestrator.results import StudyResults
from orchestrator.scheduler import Scheduler
from orchestrator.search.book import TrialBook
from orchestrator.search.judging import Course
from orchestrator.search.pruning import Pruning
from orchestrator.sessions import Claims, Roster
from orchestrator.spec import StudySpec, definition_of
from orchestrator.study_record import Entry, StudyRecord
from orchestrator.surroundings import Surroundings
from orchestrator.tracking.protocol import TrialEnd
from orchestrator.trials import BlockState, Failure, TrialOutcome, TrialState

_LOG = logging.getLogger(__name__)
_SAVE_EVERY_S = 2.0
_MOST_CHORES = 64
_BOOK, _LEDGER = "Optuna's storage", "the ledger"
_UNHARMED = (TrialState.COMPLETE, TrialState.PRUNED)
_STOPPED = "The study stopped; blocks that are complete are kept. Mend this and run it again."


@dataclass(frozen=True)
class LastRun:
    """Figures of one run of a study.

    Attributes:
        blocks_executed: Blocks that ran.
        blocks_reused: Blocks that were complete in the ledger already.
        model_loads: Models loaded by all replicas.
        actors: Replicas; 0 if nothing had to run.
        units_per_s: Units of work per second of wall time since the first launch, or None.
        units_spared: Units that pruned trials left undone; 0 without any.
    """

    blocks_executed: int
    blocks_reused: int
    model_loads: int
    actors: int
    units_per_s: float | None
    units_spared: int


@dataclass(frozen=True)
class SweepReport:
    """How a run of a study ended.

    Attributes:
        state: ``done``, ``failed`` (with failed trials) or ``interrupted``.
        failures: Why trials failed in this run.
        last_run: Its figures.
    """

    state: str
    failures: tuple[Failure, ...]
    last_run: LastRun


def run_sweep(
    spec: StudySpec, objective: Objective, home: Home, around: Surroundings
) -> SweepReport:
    """Run a study, or go on with it, until it is done or asked to stop.

    Args:
        spec: The study.
        objective: What it asks.
        home: Where everything is kept.
        around: Executor, tracker and the rest.

    Returns:
        How it ended.

    Raises:
        StudyBusyError: If another process runs the study in this home.
        InputError: If the work found the input at fault; finished blocks are kept.
    """
    with (
        nobody_else_drives(spec.study, home, clock=around.clock, sleep=around.sleep) as roster,
        quick_commits(home.path),
    ):
        record = StudyRecord(spec, objective, Ledger(home.ledger), home.cache, around.tags)
        sweep = _Sweep(record, around, roster)
        book = sweep.patience(
            _BOOK,
            lambda: TrialBook.open(
                home.optuna_uri,
                spec.study,
                definition={**definition_of(spec), "directions": dict(sweep.directions)},
                directions=sweep.directions,
                search=spec.search,
            ),
        )
        try:
            around.tracker.open(record.header)
            if spec.search is None:
                sweep.run_planned(book)
            else:
                sweep.run_search(book)
            return sweep.close()
        finally:
            sweep.executor.close()
            book.close()


class _StopAskedError(Exception):
    """The sweep was asked to stop while it prepared."""


class _Sweep:
    """One run of one study."""

    def __init__(self, record: StudyRecord, around: Surroundings, roster: Roster) -> None:
        self._record, self._around, self._roster = record, around, roster
        self._claims = Claims(record.ledger, roster.own.name)
        self.executor = OnDemandExecutor(
            lambda: around.make_executor(
                record.blocks_missing or self._blocks_ahead, roster.own.name
            )
        )
        retry = record.spec.retry
        self.patience = around.patience(roster, retry.patience_s)
        self._observer = SweepObserver(record.spec.study, lambda: self.executor.telemetry)
        policy = RetryPolicy(**retry.model_dump())
        self._scheduler = Scheduler(self.executor, policy, self._observer)
        around.stop.listeners += [self._scheduler.stop, self.executor.ask_to_stop]
        self._blocks_ahead = 1
        self._failures: list[Failure] = []
        self._over_budget = self._cut_short = False
        self._began_s: float | None = None
        self._saved_s = -_SAVE_EVERY_S
        self._chores: deque[Callable[[], None]] = deque()

    @property
    def directions(self) -> Mapping[str, str]:
        """What Optuna is told of each trial: the search's objectives, or the primary metric."""
        spec, objective = self._record.spec, self._record.objective
        if spec.search is not None:
            return spec.search.objectives
        return {spec.measure.primary: objective.metrics[spec.measure.primary]}

    def run_planned(self, book: TrialBook) -> None:
        """Run the trials that the study file lists."""
        plans = expand(self._record.spec, self._record.objective)
        self.patience(_BOOK, lambda: book.register(plans))
        self._blocks_ahead = sum(map(self._n_blocks, plans))
        try:
            for plan in plans:
                self._prepare(plan)
        except _StopAskedError:
            return
        for plan in plans:
            self._submit(plan)
        while not self._scheduler.is_idle:
            for outcome in self._step():
                self._end(outcome, book)

    def run_search(self, book: TrialBook) -> None:
        """Ask and tell in one fixed order, so that the sampler always knows the same.

        Trial n is asked for when exactly the trials up to ``n - parallel`` have been told,
        whatever order they end in. Trials of an earlier run are gone through again: those that
        have ended end at once, and telling them again changes nothing. Where trials are pruned,
        the same is what they are judged by.
        """
        record, search = self._record, self._record.spec.search
        assert search is not None
        ended: dict[int, tuple[TrialOutcome, Course | None]] = {}
        pruning = Pruning(record, book, self._scheduler, self._around.clock)
        asked = told = 0

        def admit(number: int, values: dict[str, object]) -> int:
            plan = trial_for(record.spec, record.objective, number, values)
            self._blocks_ahead = search.parallel * self._n_blocks(plan)
            try:
                self._prepare(plan)
            except _StopAskedError:
                return 0
            entry = self._submit(plan)
            self.patience(_LEDGER, lambda: pruning.watch(entry))
            return 1

        if (baseline := record.spec.measure.baseline) is not None:
            first = {p: baseline.get(p, get_path(record.spec.base, p)) for p in search.space}
            self.patience(_BOOK, lambda: book.begin_with(first))
        for number, values in self.patience(_BOOK, book.asked):
            asked += admit(number, values)
        while told < search.trials:
            must_ask = asked < min(search.trials, told + search.parallel)
            if must_ask and not self._is_stopping:
                asked += admit(*self.patience(_BOOK, book.ask))
            elif told in ended and not must_ask:
                outcome, course = ended[told]
                self._end(outcome, book, course)
                told += 1
            elif self._is_stopping and self._scheduler.is_idle:
                self._cut_short = True
                return
            else:
                for outcome in self._step():
                    settled = self.patience(_LEDGER, partial(pruning.settle, outcome))
                    if settled is not None:
                        ended[outcome.number] = settled
                self.patience(_LEDGER, pruning.look)

    def close(self) -> SweepReport:
        """Write down how the run ended."""
        self._do_chores(0)
        entries = self._record.entries.values()
        if self._cut_short and not entries:  # what is remembered of an earlier run stays
            self._around.tracker.finish_study("interrupted", {}, {})
            return SweepReport("interrupted", (), LastRun(0, 0, 0, 0, None, 0))
        if all(entry.state in _UNHARMED for entry in entries) and not self._cut_short:
            state = "done"
        else:
            state = "interrupted" if self._around.stop.asked else "failed"
        scheduler = self._scheduler
        elapsed = 0.0 if self._began_s is None else self._around.clock() - self._began_s
        last_run = LastRun(
            scheduler.blocks_executed,
            self._record.blocks_reused,
            self.executor.model_loads,
            self.executor.n_actors,
            scheduler.units_executed / elapsed if elapsed > 0 else None,
            self._record.units_spared,
        )
        self.patience(_LEDGER, lambda: self._record.save(state, asdict(last_run)))
        self._measure(scheduler.block_states().values())
        results = StudyResults.load(self._record.ledger, self._record.spec.study)
        assert results is not None
        differences = self._record.differences(results)
        self._around.tracker.finish_study(state, differences, self._around.artifacts(results))
        return SweepReport(state, tuple(self._failures), last_run)

    # -- trials ---------------------------------------------------------------------------

    def _n_blocks(self, plan: TrialPlan) -> int:
        return len(self._record.objective.blocks(plan.params))

    def _prepare(self, plan: TrialPlan) -> None:
        """Build what the identity of a trial needs, where it is not there yet.

        Raises:
            _StopAskedError: If the sweep was asked to stop; what was built so far is kept or
                forgotten, as if the process had been killed.
        """

        def progress(stage: str, done: int, total: int) -> None:
            self._around.watcher.preparing(stage, done, total)
            self._heed_a_stop()

        if self._record.objective.identity(plan.params, self._record.cache) is None:
            self._heed_a_stop()
            prepare = self._around.prepare or self.executor.prepare
            prepare(plan.params, progress)

    def _heed_a_stop(self) -> None:
        if self._around.stop.asked:
            self._cut_short = True
            raise _StopAskedError

    def _submit(self, plan: TrialPlan) -> Entry:
        entry = self.patience(_LEDGER, lambda: self._record.admit(plan))
        self._scheduler.submit(entry.work, entry.reused)
        return entry

    def _step(self) -> tuple[TrialOutcome, ...]:
        """Make one pass, and show what it changed.

        What only mirrors the sweep is a chore: one is done a pass, so that an actor whose block
        has ended waits for at most one of them before it gets the next.
        """
        if self._around.stop.asked:  # before this sweep could listen, perhaps
            self._scheduler.stop()
        self._save_now_and_then()
        wait_s = 0.0 if self._chores else self._around.poll_s
        now_s = self._around.clock()
        step = self._scheduler.step(now_s, wait_s)
        self._do_chores(min(max(len(self._chores) - 1, 0), _MOST_CHORES))
        for number in step.started:
            if self._began_s is None:
                self._began_s = now_s  # an inline block has ended by now
            entry = self._record.entries[number]
            entry.state = TrialState.RUNNING
            self._chores.append(partial(self._mirror_start, entry))
        done = self._scheduler.units_executed + sum(
            sign.done for sign in self.executor.progress().values()
        )
        self._around.watcher.progressed(done, self._record.units_missing)
        return step.ended

    def _end(self, outcome: TrialOutcome, book: TrialBook, course: Course | None = None) -> None:
        """Write down everywhere that a trial has ended; its results are in the ledger."""
        entry, failure = self._record.entries[outcome.number], outcome.failure
        entry.state = outcome.state
        if course is not None and course.pruned_at is not None:
            self.patience(_LEDGER, partial(self._record.prune, entry, course.pruned_at))
        if failure is not None:
            if failure.problems:
                self._abandon(failure.reason, book)
                raise InputError(self._record.spec.study, failure.problems, _STOPPED)
            entry.failure = f"{failure.reason}\n{failure.details}".strip()
            self._failures.append(failure)
            self._claims.release_all(block.block_id for block in entry.blocks)
            _LOG.error("trial %d failed\n%s", outcome.number, entry.failure)
        end = self.patience(_LEDGER, lambda: self._record.trial_end(entry))
        values = [end.metrics.get(name) for name in self.directions]
        self._chores.append(partial(self._mirror_end, entry, end))
        defined = [value for value in values if value is not None]
        is_whole = failure is None and len(defined) == len(values)
        told, curve = defined if is_whole else None, None if failure else course
        self.patience(_BOOK, lambda: book.tell(entry.plan.number, told, curve))
        if entry.pruned_at is not None:
            self._around.watcher.trial_pruned(entry.plan, entry.pruned_at.step)
        else:
            self._around.watcher.trial_ended(entry.plan, failure)
        budget = self._record.spec.budget.max_failed_trials
        if budget is not None and len(self._failures) > budget:
            self._over_budget = True
            self._scheduler.stop()
            self.executor.ask_to_stop()

    @property
    def _is_stopping(self) -> bool:
        return self._around.stop.asked or self._over_budget

    def _abandon(self, reason: str, book: TrialBook) -> None:
        """Leave nothing open behind when the input turns out to be wrong."""
        self._do_chores(0)
        for number, entry in self._record.entries.items():
            if entry.state not in _UNHARMED:
                entry.state, entry.failure = TrialState.FAILED, reason
                if self._record.spec.search is None:  # a sampler would remember it for ever
                    book.tell(number, None)
                self._mirror_end(entry, self._record.trial_end(entry))
        self._record.save("failed", None)
        self._around.tracker.finish_study("failed", {}, {})

    def _mirror_start(self, entry: Entry) -> None:
        self._around.tracker.start_trial(entry.header)

    def _mirror_end(self, entry: Entry, end: TrialEnd) -> None:
        self._around.tracker.finish_trial(entry.header, end)

    def _do_chores(self, n_left: int) -> None:
        while len(self._chores) > n_left:
            self._chores.popleft()()

    def _save_now_and_then(self) -> None:
        """Write down how far the study is; a ledger that is away is tried again the next time."""
        if self._around.clock() - self._saved_s < _SAVE_EVERY_S:
            return
        self._saved_s = self._around.clock()
        with passing_over_outages(_LEDGER):
            self._save()
            self._roster.beat()

    def _save(self) -> None:
        """Let others see how things stand."""
        now_s = self._around.clock()
        done = {block: sign.done for block, sign in self.executor.progress().items()}
        states = self._scheduler.block_states().values()
        progress = self._observer.progress(
            states,
            done,
            units_executed=self._scheduler.units_executed,
            units_missing=self._record.units_missing,
            elapsed_s=0.0 if self._began_s is None else now_s - self._began_s,
        )
        self._record.save("running", None, progress)
        self._measure(states)

    def _measure(self, states: Iterable[BlockState]) -> None:
        backlog = len(self._chores) + self._around.backlog()
        self._observer.measure(states, self.executor.n_actors, backlog)
