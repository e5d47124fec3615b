"""Metric values that know their protocol, their language and how much stands behind them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mpn.errors import MpnInputError

ProtocolName = Literal["single", "sequential"]

DIRECTIONS = {
    "reliability": "maximize",
    "generality": "maximize",
    "cross_lingual_generality": "maximize",
    "cross_lingual_generality_seen": "maximize",
    "cross_lingual_generality_unseen": "maximize",
    "cross_lingual_correction": "maximize",
    "cross_lingual_rephrase": "maximize",
    "locality": "maximize",
    "near_locality": "maximize",
    "edit_retention": "maximize",
    "cross_lingual_retention": "maximize",
    "train_retention": "maximize",
    "test_retention": "maximize",
    "edited": "maximize",
    "steps": "minimize",
    "separable": "maximize",
}
"""Every metric of a stream, and which way is better. Rates are in [0, 1]; retentions of accuracy
are ratios and can exceed 1; ``steps`` counts gradient steps; ``edited`` is the fraction of
requests that the current model did not fulfil already, and ``separable`` that of the edits whose
neurons could learn to tell them from the memory."""


@dataclass(frozen=True)
class MetricValue:
    """One value of one metric.

    Attributes:
        metric: Its name.
        language: Language that it was measured in.
        protocol: ``single`` or ``sequential``; the two are never averaged together.
        value: The value; an undefined one has no ``MetricValue``.
        n: Cases behind it, at least 1.
        position: Edit of the stream after which it was measured; -1 for the end of the stream.
        edit_id: That edit, or "".
        seen: Whether the pairing drew from this language for this edit.
    """

    metric: str
    language: str
    protocol: ProtocolName
    value: float
    n: int
    position: int
    edit_id: str = ""
    seen: bool = False

    def __post_init__(self) -> None:
        """Refuse values without cases.

        Raises:
            ValueError: If ``n < 1`` or the value is not a number.
        """
        if self.n < 1 or self.value != self.value:
            raise ValueError(f"{self.metric}: value {self.value} with n = {self.n}")


def pooled_mean(values: Iterable[MetricValue]) -> tuple[float, int]:
    """Average over cases.

    Args:
        values: At least one value; all of one protocol.

    Returns:
        The mean, weighted by n, and the sum of n.

    Raises:
        MpnInputError: If values of different protocols, or none, are given.
    """
    values = list(values)
    protocols = sorted({value.protocol for value in values})
    if len(protocols) != 1:
        raise MpnInputError(
            "pooled_mean",
            f"values of {' and '.join(protocols) or 'no'} protocol",
            "average single and sequential edits apart",
        )
    n = sum(value.n for value in values)
    return sum(value.value * value.n for value in values) / n, n
