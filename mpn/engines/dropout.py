"""Views of the rows that an edit trains on, under dropout."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from mpn.backbones import Backbone
from mpn.errors import MpnInputError
from mpn.settings import Settings

_QUERY_RATE = 0.4


class DropoutSettings(Settings):
    """Train on several views of each row under dropout, as the reference does.

    Attributes:
        on: ``query``: dropout on the FFN's input, which neurons read and the residual carries,
            but for pre-norm layers, where it is another.
            ``model``: the model's own, in every layer; runs the whole model at every step.
        views: Copies of each row, drawn anew at every step.
        rate: Dropout rate, in all its dropouts for ``model``. ``null`` is 0.4 for ``query``, which
            does about what 0.1 in every layer does (DECISIONS.md #16), and the model's own rates
            for ``model``.
    """

    on: Literal["query", "model"] = "query"
    views: PositiveInt = 8
    rate: float | None = Field(default=None, ge=0, lt=1)

    def rate_on(self, backbone: Backbone) -> float:
        """Return the rate to use on a model.

        Raises:
            MpnInputError: If the model's own is asked for, and it has none.
        """
        if self.rate is not None:
            return self.rate
        if self.on == "query":
            return _QUERY_RATE
        own = backbone.dropout_rate
        if own == 0:
            raise MpnInputError(
                "editor.dropout.rate",
                "null, the model's own, which is 0",
                "write a rate, such as 0.1",
            )
        return own


def kept_shares(
    shape: Sequence[int], rate: float, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Return what is multiplied with queries: 0 for those dropped, else more than 1.

    Args:
        shape: ``[n, d_model]``.
        rate: Share that is dropped.
        generator: On the CPU.
        like: Gives type and device.
    """
    return (torch.rand(*shape, generator=generator) >= rate).to(like) / (1 - rate)


def dropped(
    queries: Sequence[Tensor],
    dropout: DropoutSettings,
    generators: Sequence[torch.Generator],
    backbone: Backbone,
) -> list[Tensor]:
    """Return queries under dropout, those kept scaled up.

    Args:
        queries: What each edit's views read, ``[n, d_model]``.
        dropout: Must be ``on: query``.
        generators: One on the CPU for each edit.
        backbone: The model.

    Raises:
        MpnInputError: If it is the model's own dropout, which queries have not.
    """
    if dropout.on != "query":
        raise MpnInputError(
            "editor.dropout.on", f"{dropout.on} with the cached engine", "write query"
        )
    rate = dropout.rate_on(backbone)
    return [
        own * kept_shares(own.shape, rate, generator, own)
        for own, generator in zip(queries, generators, strict=True)
    ]
