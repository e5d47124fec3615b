"""Layers by number."""

from mpn.errors import MpnInputError


def check_layer(layer: int, depth: int, place: str) -> None:
    """Refuse a layer that a model does not have.

    Args:
        layer: Its number, from 0.
        depth: How many layers the model has.
        place: Where the user wrote the number.

    Raises:
        MpnInputError: If there is no such layer.
    """
    if not 0 <= layer < depth:
        raise MpnInputError(place, f"layer {layer}", f"layers are 0 to {depth - 1}, or last")
