"""A tracker that outlasts outages: what could not be mirrored is tried again later."""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from orchestrator.redaction import one_line
from orchestrator.tracking.protocol import StudyHeader, Tracker, TrialEnd, TrialHeader

_LOG = logging.getLogger(__name__)
_LONGEST_QUEUE = 10_000
_LONGEST_SAID = 200


class PatientTracker:
    """Wraps a tracker so that its outages never reach the sweep.

    Calls are made in order; when one fails, it and all later ones wait until ``wait_s`` have
    passed. What is still waiting at the end is in the ledger all the same, and is mirrored when
    the study is run again.

    Attributes:
        trouble: The last error, in one line, while calls are waiting; else None.
    """

    def __init__(
        self, tracker: Tracker, clock: Callable[[], float], *, wait_s: float = 10.0
    ) -> None:
        """Wrap ``tracker``; ``clock`` returns seconds and does not go back."""
        self._tracker = tracker
        self._clock = clock
        self._wait_s = wait_s
        self._queue: deque[Callable[[], None]] = deque(maxlen=_LONGEST_QUEUE)
        self._not_before = 0.0
        self.trouble: str | None = None

    @property
    def backlog(self) -> int:
        """How many calls wait to be made."""
        return len(self._queue)

    def open(self, study: StudyHeader) -> None:
        """See :class:`Tracker`; never raises."""
        self._do(lambda: self._tracker.open(study))

    def start_trial(self, trial: TrialHeader) -> None:
        """See :class:`Tracker`; never raises."""
        self._do(lambda: self._tracker.start_trial(trial))

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """See :class:`Tracker`; never raises."""
        self._do(lambda: self._tracker.finish_trial(trial, end))

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """See :class:`Tracker`; never raises. Waiting calls get a last try."""
        self._not_before = 0.0
        self._do(lambda: self._tracker.finish_study(state, metrics, artifacts))

    def try_again(self) -> None:
        """Make the calls that wait, if it is time to; never raises."""
        if self._queue:
            self._send()

    def _do(self, call: Callable[[], None]) -> None:
        self._queue.append(call)
        self._send()

    def _send(self) -> None:
        if self._clock() < self._not_before:
            return
        while self._queue:
            try:
                self._queue[0]()
            except Exception as error:  # every store has errors of its own
                self.trouble = one_line(error, longest=_LONGEST_SAID)
                self._not_before = self._clock() + self._wait_s
                _LOG.warning("the tracker cannot be written, %s", self.trouble)
                return
            self._queue.popleft()
        self.trouble = None
