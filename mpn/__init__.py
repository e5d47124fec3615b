"""Cross-lingual model editing with multilingual patch neurons: the method, without sweeps."""

from typing import Any

__all__ = ["load_edited"]


def __getattr__(name: str) -> Any:
    """Give :func:`mpn.edited_models.load_edited`, whose imports take seconds, when asked for."""
    if name == "load_edited":
        from mpn.edited_models import load_edited

        return load_edited
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
