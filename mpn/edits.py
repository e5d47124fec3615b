"""The vocabulary: texts, examples in parallel languages, and requests to edit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Text = tuple[str, ...]
"""One text, or the two segments of a text pair (premise, hypothesis)."""


@dataclass(frozen=True)
class ParallelExample:
    """One example of a corpus in several languages, with one label.

    Attributes:
        example_id: Unique within its corpus.
        group: Examples of one group speak of the same fact or premise; a group never stands
            on both sides of a split.
        label: Index into the corpus's labels.
        texts: The example itself, per language.
        rephrases: Other wordings of it, per language; empty where the corpus has none.
        neighbourhood: Examples of other groups in the same neighbourhood are the hard cases of
            locality (other facts of the same person); ``None`` where the corpus has none.
        trained_languages: Languages in which the base model was trained on exactly this text.
    """

    example_id: str
    group: str
    label: int
    texts: Mapping[str, Text]
    rephrases: Mapping[str, tuple[Text, ...]] = field(default_factory=dict)
    neighbourhood: str | None = None
    trained_languages: frozenset[str] = frozenset()


@dataclass(frozen=True)
class EditRequest:
    """One wish in one language: this text shall get this label."""

    language: str
    text: Text
    label: int


@dataclass(frozen=True)
class ParallelEdit:
    """The same wish in several languages; an editor sees the source and what is paired with it.

    Attributes:
        edit_id: The example's id.
        label: The desired label.
        source_language: The language in which the edit is asked for.
        example: The parallel example behind the edit.
    """

    edit_id: str
    label: int
    source_language: str
    example: ParallelExample

    def request(self, language: str) -> EditRequest:
        """Return the wish in one language."""
        return EditRequest(language, self.example.texts[language], self.label)
