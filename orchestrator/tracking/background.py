"""A mirror in a thread of its own: neither its work nor its outages hold up the driver."""

import threading
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from types import TracebackType

from orchestrator.tracking.patient import PatientTracker
from orchestrator.tracking.protocol import StudyHeader, TrialEnd, TrialHeader

_RETRY_EVERY_S = 1.0


class BackgroundTracker:
    """Hands all calls, in order, to a patient tracker in another thread.

    To be used as a context: at its end what waits is mirrored, for as long as that takes while
    the mirror can be reached, or until a last try while it cannot.
    """

    def __init__(self, tracker: PatientTracker) -> None:
        """Wrap ``tracker``, which from now on belongs to the thread."""
        self._tracker = tracker
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    @property
    def trouble(self) -> str | None:
        """The last error, in one line, while the mirror lacks something; else None."""
        return self._tracker.trouble

    @property
    def backlog(self) -> int:
        """How many calls wait."""
        return self._calls.qsize() + self._tracker.backlog

    def __enter__(self) -> "BackgroundTracker":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the thread finish; after an error that ends the driver it is left to itself."""
        self._calls.put(None)
        if error is None or isinstance(error, Exception):
            self._thread.join()

    def open(self, study: StudyHeader) -> None:
        """See :class:`orchestrator.tracking.protocol.Tracker`; returns at once."""
        self._calls.put(lambda: self._tracker.open(study))

    def start_trial(self, trial: TrialHeader) -> None:
        """See :class:`orchestrator.tracking.protocol.Tracker`; returns at once."""
        self._calls.put(lambda: self._tracker.start_trial(trial))

    def finish_trial(self, trial: TrialHeader, end: TrialEnd) -> None:
        """See :class:`orchestrator.tracking.protocol.Tracker`; returns at once."""
        self._calls.put(lambda: self._tracker.finish_trial(trial, end))

    def finish_study(
        self,
        state: str,
        metrics: Mapping[str, Mapping[str, float]],
        artifacts: Mapping[str, str],
    ) -> None:
        """See :class:`orchestrator.tracking.protocol.Tracker`; returns at once."""
        self._calls.put(lambda: self._tracker.finish_study(state, metrics, artifacts))

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=_RETRY_EVERY_S)
            except Empty:
                self._tracker.try_again()
                continue
            if call is None:
                return
            call()
