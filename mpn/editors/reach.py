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
        queries: How many queries, over all languages; 0: none.
        texts: How many texts as the engine's rows, over all languages; 0: none.
        positions: Of which positions, for queries.
        held_out_share: Fraction of the queries that is held out.
    """

    queries: int = 0
    texts: int = 0
    positions: Positions = "cls"
    held_out_share: float = 0.0
