"""What may happen to a study only while nobody else drives it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.locks import only_driver
from orchestrator.sessions import Roster, present


@contextmanager
def nobody_else_drives(
    study: str,
    home: Home,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Roster]:
    """Keep other drivers of a study away, in this home and wherever its ledger is shared.

    Args:
        study: Its name.
        home: Where it would be driven.
        clock: Seconds that do not go back.
        sleep: Waits for so many seconds.

    Yields:
        The drivers in the ledger, as this process sees them; it is the study's own.

    Raises:
        StudyBusyError: If there is one.
    """
    home.make()
    roster = Roster(Ledger(home.ledger), study, "main", clock)
    with (
        only_driver(study, home),
        present(roster, sleep, is_alone=home.services.ledger is None),
    ):
        yield roster
