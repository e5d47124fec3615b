"""How long a block is tried, and for how long its replica is trusted."""

from dataclasses import dataclass

from orchestrator.executors.protocol import Lost, Sign

_LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True)
class RetryPolicy:
    """When a block is given up, and when it is tried again.

    Attributes:
        attempts: How often a block is tried that gets no further; one that gets further than
            before is as good as new.
        backoff_s: How long is waited before the second time; doubles each time, up to a minute.
        patience_s: For how long a block is tried while its ledger cannot be reached or written.
        silence_s: For how long a replica may not answer before it is given up.
        stall_s: For how long one unit of work may last before its replica is given up.
    """

    attempts: int = 3
    backoff_s: float = 1.0
    patience_s: float = 600.0
    silence_s: float = 120.0
    stall_s: float = 3600.0

    def backoff_before(self, attempt: int) -> float:
        """Return how long is waited before the attempt after this one, in s."""
        return min(self.backoff_s * 2.0 ** min(attempt - 1, 10), _LONGEST_BACKOFF_S)


@dataclass
class Endurance:
    """What a block has been through.

    Attributes:
        attempt: Tries so far; names events.
        fruitless: Tries since it last got further.
    """

    attempt: int = 0
    fruitless: int = 0
    _position: int = 0
    _no_storage_since_s: float | None = None
    _without_storage: int = 0  # tries since then

    def begin(self) -> int:
        """Count another try, and return its number."""
        self.attempt += 1
        self.fruitless += 1
        return self.attempt

    def undo(self) -> None:
        """Count the last try as none."""
        self.attempt -= 1
        self.fruitless -= 1

    def lose(self, event: Lost, now_s: float, policy: RetryPolicy) -> float | None:
        """Take in a loss.

        Args:
            event: What was lost.
            now_s: When.
            policy: What is borne.

        Returns:
            When to try again, in s; None: never.
        """
        if event.position > self._position:
            self._position, self.fruitless = event.position, 1
            self._no_storage_since_s = None
        if event.fault == "storage":
            self.fruitless -= 1  # whoever runs the block can do nothing about it
            if self._no_storage_since_s is None:
                self._no_storage_since_s, self._without_storage = now_s, 0
            self._without_storage += 1
            gives_up = now_s - self._no_storage_since_s >= policy.patience_s
            tries = self._without_storage
        else:
            self._no_storage_since_s = None
            gives_up = self.fruitless >= policy.attempts
            tries = self.fruitless
        return None if gives_up else now_s + policy.backoff_before(tries)


@dataclass
class Vigil:
    """A replica at work, watched.

    Attributes:
        heard_s: When it last answered.
        moved_s: When it last finished a unit.
        sign: What was heard then.
    """

    heard_s: float
    moved_s: float
    sign: Sign | None = None

    @staticmethod
    def of(now_s: float) -> "Vigil":
        """Begin."""
        return Vigil(now_s, now_s)

    def hear(self, sign: Sign, now_s: float, *, looked_away: bool) -> None:
        """Take in a sign; after having looked away nothing is held against the replica."""
        if looked_away or self.sign is None or sign.done != self.sign.done:
            self.heard_s = self.moved_s = now_s
        elif sign.heard != self.sign.heard:
            self.heard_s = now_s
        self.sign = sign

    def complaint(self, now_s: float, policy: RetryPolicy) -> str | None:
        """Say why the replica should be given up; None if it should not."""
        silent_s, still_s = now_s - self.heard_s, now_s - self.moved_s
        if silent_s > policy.silence_s:
            return f"no sign of life for {silent_s:.0f} s"
        if still_s > policy.stall_s:
            return f"stood still for {still_s:.0f} s"
        return None
