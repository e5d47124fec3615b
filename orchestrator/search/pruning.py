"""Stops trials of a search early, the same ones at the same steps whatever happens meanwhile.

What is decided of a trial depends on the values that its streams have at each step, and on the
trials that were told when it was asked for. Neither changes with timing, the number of actors,
retries or a resume; only how soon the decision is noticed does, and so how much work it spares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial

from orchestrator.curves import RunningValue
from orchestrator.scheduler import Scheduler
from orchestrator.search.book import TrialBook
from orchestrator.search.judging import Course, Judge
from orchestrator.study_record import Entry, StudyRecord
from orchestrator.trials import TrialOutcome, TrialState


@dataclass
class _Watched:
    entry: Entry
    earlier: Sequence[FrozenTrial]
    value: RunningValue
    judge: Judge
    looked_s: float = float("-inf")


class Pruning:
    """Watches the trials of a search; does nothing if the search has no pruner."""

    def __init__(
        self,
        record: StudyRecord,
        book: TrialBook,
        scheduler: Scheduler,
        clock: Callable[[], float],
    ) -> None:
        """Watch nothing yet.

        Args:
            record: The study: a search, with one objective if it has a pruner.
            book: Knows the trials told before.
            scheduler: Is told which trials to stop.
            clock: Seconds that do not go back.
        """
        assert record.spec.search is not None
        self._search, self._ledger = record.spec.search, record.ledger
        self._every_s = record.spec.resources.checkpoint_every_s  # there is nothing new before
        self._book, self._scheduler, self._clock = book, scheduler, clock
        self._open: dict[int, _Watched] = {}

    def watch(self, entry: Entry) -> None:
        """Watch a trial that was submitted; one whose verdict is in the ledger ends at once."""
        if self._search.pruner is not None:
            number = entry.plan.number
            self._open[number] = self._afresh(entry, self._book.told_when_asked(number))
            self._look(number)

    def look(self) -> None:
        """Look at the trials that were left alone for long enough, and stop those to be pruned."""
        for number, watched in list(self._open.items()):
            if self._clock() - watched.looked_s >= self._every_s:
                self._look(number)

    def settle(self, outcome: TrialOutcome) -> tuple[TrialOutcome, Course | None] | None:
        """Give the verdict on a trial that has ended, from all that the ledger has of it now.

        A trial can run further than to where it is pruned before that is noticed, or even to its
        end; and what a verdict was based on can be gone, with all that a broken replica measured.

        Returns:
            How the trial ended, and its course; None if it goes on after all.
        """
        number = outcome.number
        if number not in self._open:
            return outcome, None
        before = self._open[number]
        watched = self._open[number] = self._afresh(before.entry, before.earlier)
        if self._is_pruned(watched):
            del self._open[number]
            return replace(outcome, state=TrialState.PRUNED, failure=None), watched.judge.course
        if outcome.state is TrialState.PRUNED:
            self._scheduler.revive(number)
            return None
        del self._open[number]
        return outcome, watched.judge.course

    def _look(self, number: int) -> None:
        watched = self._open[number]
        watched.looked_s = self._clock()
        if self._is_pruned(watched):
            self._scheduler.prune(number)

    def _is_pruned(self, watched: _Watched) -> bool:
        watched.value.read()
        return any(watched.judge.hear(*step) for step in watched.value.steps())

    def _afresh(self, entry: Entry, earlier: Sequence[FrozenTrial]) -> _Watched:
        pruner, plan = self._search.pruner, entry.plan
        assert pruner is not None
        [(metric, direction)] = self._search.objectives.items()
        streams = [stream for block in entry.blocks for stream in block.streams]
        blocks = [block.block_id for block in entry.blocks]
        return _Watched(
            entry,
            earlier,
            RunningValue(self._ledger, blocks, streams, metric),
            Judge(pruner, direction, earlier, spare=plan.baseline),
        )
