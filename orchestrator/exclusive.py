"""What may happen to a study only while nobody drives it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.locks import only_driver
from orchestrator.sessions import Roster, present


@contextmanager
def nobody_drives(
    study: str,
    home: Home,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Keep drivers of a study away, in this home and wherever else its ledger is shared.

    Args:
        study: Its name.
        home: Where it would be driven.
        clock: Seconds that do not go back.
        sleep: Waits for so many seconds.

    Raises:
        StudyBusyError: If there is one.
    """
    home.make()
    roster = Roster(Ledger(home.ledger), study, "main", clock)
    with (
        only_driver(study, home),
        present(roster, sleep, is_alone=home.services.ledger is None),
    ):
        yield
