"""A corpus in memory, and its checks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mpn.edits import ParallelExample
from mpn.errors import MpnInputError
from mpn.languages import check_language


@dataclass(frozen=True)
class Corpus:
    """Parallel examples with one set of labels.

    Attributes:
        name: What the corpus is called in tables and MLflow.
        languages: The languages that every example has, source first where there is one.
        labels: Label names; an example's label indexes them.
        examples: All examples; their order is part of the corpus.
        fingerprint: Hash of everything above.
        dropped: How many faults of each kind kept examples out of the corpus.
    """

    name: str
    languages: tuple[str, ...]
    labels: tuple[str, ...]
    examples: tuple[ParallelExample, ...]
    fingerprint: str
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what would silently spoil an experiment.

        Raises:
            MpnInputError: For malformed language tags, doubled ids, labels out of range, or an
                example without one of the languages.
        """
        for language in self.languages:
            check_language(language, place=f"corpus {self.name}")
        doubled = [k for k, n in Counter(e.example_id for e in self.examples).items() if n > 1]
        if doubled:
            raise MpnInputError(
                f"corpus {self.name}",
                f"{len(doubled)} ids stand more than once, {doubled[0]!r} first",
                "give every example an id of its own",
            )
        for example in self.examples:
            if not 0 <= example.label < len(self.labels):
                raise MpnInputError(
                    f"corpus {self.name}, example {example.example_id}",
                    f"label {example.label}",
                    f"labels are {', '.join(self.labels)}",
                )
            missing = set(self.languages) - set(example.texts)
            if missing:
                raise MpnInputError(
                    f"corpus {self.name}, example {example.example_id}",
                    f"has no text in {', '.join(sorted(missing))}",
                    "leave the example out, or name fewer languages",
                )

    def restricted(self, languages: Sequence[str], limit: int | None) -> "Corpus":
        """Return the corpus in some of its languages, or its first ``limit`` examples only."""
        if tuple(languages) == self.languages and limit is None:
            return self
        examples = tuple(
            replace(
                example,
                texts={language: example.texts[language] for language in languages},
                rephrases={language: example.rephrases.get(language, ()) for language in languages},
            )
            for example in self.examples[:limit]
        )
        fingerprint = f"{self.fingerprint}:{','.join(languages)}:{limit}"
        return replace(self, languages=tuple(languages), examples=examples, fingerprint=fingerprint)

    def relabelled(self, labels: Sequence[str], order: Sequence[int]) -> "Corpus":
        """Return the corpus with other label numbers.

        Args:
            labels: The new label names.
            order: For each old number the new one.
        """
        if list(order) == list(range(len(order))):
            return self
        examples = tuple(replace(example, label=order[example.label]) for example in self.examples)
        return replace(self, labels=tuple(labels), examples=examples)
