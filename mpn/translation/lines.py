"""What a translator makes of one row, how it is measured, and how it is kept."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mpn.edits import Text
from mpn.translation.checks import faults, length_ratio


@dataclass(frozen=True)
class Line:
    """The translation of one row.

    Attributes:
        id: Of the row.
        text: In the target language; the source itself where that is the target.
        round_trip: Lowest chrF of its segments, translated back, in [0, 100]; None without a
            model that does.
        truncated: Whether the model could not take or give the whole of it.
        rephrases: Other wordings in the target language, through other languages and back: those
            that say something else than ``text``, and lose nothing that a check looks for.
    """

    id: str
    text: Text
    round_trip: float | None
    truncated: bool
    rephrases: tuple[Text, ...] = ()

    def measured(self, source: Text) -> Mapping[str, float]:
        """Return the metrics of the line.

        Args:
            source: What it is a translation of.

        Returns:
            ``intact``: 1 if no check without a threshold speaks against it, and it is whole;
            ``length_ratio``, the one farthest from 1; ``rephrased``: 1 if it has a rephrase;
            ``round_trip`` as a rate, where there is one.
        """
        ratios = [length_ratio(a, b) for a, b in zip(source, self.text, strict=True)]
        values = {
            "intact": float(not (faults(source, self.text) or self.truncated)),
            "length_ratio": max(ratios, key=lambda ratio: max(ratio, 1 / ratio)),
            "rephrased": float(bool(self.rephrases)),
        }
        if self.round_trip is not None:
            values["round_trip"] = self.round_trip / 100
        return values


def to_bytes(lines: Iterable[Line]) -> bytes:
    """Write lines as JSON Lines; the same lines are the same bytes."""
    rows = ([line.id, line.text, line.round_trip, line.truncated, line.rephrases] for line in lines)
    return b"".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        for row in rows
    )


def from_bytes(data: bytes) -> list[Line]:
    """Read what :func:`to_bytes` wrote."""
    rows = map(json.loads, data.decode().split("\n")[:-1])
    return [
        Line(id_, tuple(text), round_trip, truncated, tuple(map(tuple, rephrases)))
        for id_, text, round_trip, truncated, rephrases in rows
    ]


def shard(n_rows: int, size: int, number: int) -> range:
    """Return the places of the rows of a shard."""
    return range(number * size, min(n_rows, (number + 1) * size))


def order_of(texts: Sequence[Text]) -> list[int]:
    """Return the places of texts, long ones first, equal first segments together."""
    keys = [(-max(map(len, text)), text) for text in texts]
    return sorted(range(len(texts)), key=lambda place: (keys[place], place))
