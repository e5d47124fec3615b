"""What is measured of a sweep for those who watch a cluster: the metrics, and where they go."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Metric:
    """Something that is measured.

    Attributes:
        name: As Prometheus knows it, without what an exporter adds.
        kind: ``counter`` (values are added), ``gauge`` (the last one holds) or ``histogram``.
        meaning: In a sentence, with its unit.
        labels: Names of what tells its series apart; few values each.
        bounds: Upper ends of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


# told by replicas
UNITS = Metric("mpn_units", "counter", "Units of work done.", ("study", "unit"))
WORKING_S = Metric(
    "mpn_replica_working_seconds", "counter", "Seconds inside the work, of a replica.", ("study",)
)
CHECKPOINT_BYTES = Metric(
    "mpn_checkpoint_bytes", "counter", "Bytes written to checkpoints.", ("study",)
)
CHECKPOINT_S = Metric(
    "mpn_checkpoint_seconds",
    "histogram",
    "Seconds that a checkpoint took to write.",
    ("study",),
    (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
)
# told by the driver
BLOCKS = Metric("mpn_blocks", "gauge", "Blocks by where they stand.", ("study", "state"))
IN_FLIGHT = Metric("mpn_blocks_in_flight", "gauge", "Blocks that replicas work on.", ("study",))
REPLICAS = Metric("mpn_replicas", "gauge", "Replicas when all are up.", ("study",))
RETRIES = Metric("mpn_retries", "counter", "Blocks launched once more.", ("study",))
LOST = Metric("mpn_lost_attempts", "counter", "Attempts that were lost.", ("study", "reason"))
FAILED = Metric("mpn_failed_blocks", "counter", "Blocks that failed their trial.", ("study",))
BACKLOG = Metric("mpn_mirror_backlog", "gauge", "Writes that wait for the mirror.", ("study",))

BLOCK_STATES = ("waiting", "running", "complete", "failed", "cancelled")
METRICS = (
    UNITS, WORKING_S, CHECKPOINT_BYTES, CHECKPOINT_S,
    BLOCKS, IN_FLIGHT, REPLICAS, RETRIES, LOST, FAILED, BACKLOG,
)  # fmt: skip


class Telemetry(Protocol):
    """Takes measurements. Contract: never raises for trouble of its own, and never waits."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Take one value.

        Args:
            metric: Of what.
            value: What is added, set or observed; nothing is added where it is not above 0.
            labels: One for each of the metric's.
        """
        ...


class NullTelemetry:
    """Where nobody watches."""

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Forget it."""


TelemetrySource = Callable[[], Telemetry]
