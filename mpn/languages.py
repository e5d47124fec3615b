"""Language tags, checked once at the border."""

import re

from mpn.errors import MpnInputError

_TAG = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


def is_language(tag: str) -> bool:
    """Whether ``tag`` is well formed."""
    return _TAG.fullmatch(tag) is not None


def check_language(tag: str, *, place: str) -> str:
    """Return ``tag`` if it is a well-formed language tag such as ``sw`` or ``zh-Hant``.

    Args:
        tag: An ISO 639 code, optionally with a script and a region (BCP 47).
        place: Where the tag was written, for the error.

    Returns:
        The tag unchanged.

    Raises:
        MpnInputError: If the tag is not of that form.
    """
    if not isinstance(tag, str) or not is_language(tag):
        raise MpnInputError(
            place, f"{tag!r} is not a language tag", "write one like en, sw or zh-Hant"
        )
    return tag
