"""What an editor needs to be opened: where it changes a model, and what it leaves alone."""

from dataclasses import dataclass
from typing import Literal

from mpn.backbones import Positions
from mpn.engines.opening import Changes


@dataclass(frozen=True)
class Reach:
    """Where an editor changes a model.

    Attributes:
        layer: Lowest layer that it may change, counted from 0, or ``last``.
        positions: Where neurons act.
        changes: What it changes there.
        under_own_dropout: Whether it trains under the model's own dropout, which only the whole
            model has.
    """

    layer: int | Literal["last"] = "last"
    positions: Positions = "all"
    changes: Changes = "neurons"
    under_own_dropout: bool = False


@dataclass(frozen=True)
class Remembers:
    """What an editor wants to be given of the texts that it leaves alone.

    Attributes:
        size: How many, over all languages.
        what: Their ``queries``, or the ``texts`` themselves as the engine's rows.
        positions: Of which positions, for queries.
        held_out_share: Fraction of the queries that is held out.
    """

    size: int
    what: Literal["queries", "texts"] = "queries"
    positions: Positions = "cls"
    held_out_share: float = 0.0
