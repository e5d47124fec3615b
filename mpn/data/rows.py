"""The one flat row that every reader yields: one text, in one language."""

from dataclasses import dataclass
from typing import Literal, get_args

from mpn.edits import Text

Status = Literal["source", "passed", "flagged", "accepted", "corrected", "rejected"]
"""What is known of a text: written by the source's authors; a translation that all checks passed
or one flagged; accepted, corrected or rejected by a person."""
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Row:
    """One text, or text pair, of a corpus, in one language, as it was found.

    Attributes:
        id: The same in every language; ``""`` where the data has none.
        group: Rows of one group speak of the same fact or premise.
        language: Its tag.
        label: Name of the label, as the data writes it.
        text: One or two segments; a missing segment is ``""``.
        rephrases: Other wordings, in the same language.
        status: How far the text can be trusted.
    """

    id: str
    group: str
    language: str
    label: str
    text: Text
    rephrases: tuple[Text, ...] = ()
    status: Status = "source"
