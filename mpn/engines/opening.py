"""Opens a patch site in the way asked for."""

from typing import Any, Literal

from mpn.backbones import Backbone, Positions
from mpn.engines.full import FullEngine
from mpn.engines.last_layer import LastLayerEngine
from mpn.engines.suffix import SuffixEngine
from mpn.queries import QueryCache

EngineName = Literal["cached", "full"]
Changes = Literal["neurons", "ffn", "model"]
"""What is changed: neurons are added to a layer's FFN, its weights are changed, or any weights."""


def open_engine(
    name: EngineName,
    backbone: Backbone,
    *,
    layer: int,
    positions: Positions = "all",
    changes: Changes = "neurons",
    cache: QueryCache,
) -> Any:
    """Return an engine at a site.

    Args:
        name: ``cached``: runs only what a patch can change, or ``full``, the oracle.
        backbone: The frozen model.
        layer: Index of the layer whose FFN is changed; of several the lowest.
        positions: Where neurons act; at the last layer both are the same if the head reads [CLS]
            alone.
        changes: What is changed; any weights are changed in the full model only.
        cache: Where FFN inputs are kept.

    Returns:
        An :class:`mpn.engines.protocol.Engine`.
    """
    if name == "full" or changes == "model":
        return FullEngine(backbone, layer=layer, positions=positions)
    if changes == "neurons" and backbone.reads_cls_only(layer):
        return LastLayerEngine(backbone, cache)
    return SuffixEngine(backbone, layer=layer, positions=positions, cache=cache)
