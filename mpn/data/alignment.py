"""From flat rows in many languages to parallel examples, and a list of all that is wrong with them.

An example is used whole or not at all: what is wrong with one of its texts, in one language, is
wrong with the example.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mpn.data.corpus import Corpus
from mpn.data.findings import Findings, faults_of, quoted
from mpn.data.labels import label_key, spellings
from mpn.data.rows import STATUSES, Row
from mpn.data.settings import DatasetSettings
from mpn.edits import ParallelExample
from mpn.errors import MpnInputError
from mpn.languages import is_language

UNVERIFIED = "translation rejected, or not verified"
"""Why an example is left out that has no bad row."""

_USABLE = frozenset(STATUSES) - {"rejected"}
_TRUSTED = {"any": _USABLE, "only": _USABLE - {"flagged"}}
_log = logging.getLogger(__name__)


def align(
    rows: Iterable[Row],
    *,
    languages: tuple[str, ...],
    known_labels: Sequence[str],
    settings: DatasetSettings,
    place: str,
) -> Corpus:
    """Align rows by id.

    Args:
        rows: In any order; those in other languages are passed over.
        languages: Which languages an example must have.
        known_labels: All labels of the corpus, in their order; empty if only the rows tell.
        settings: What to keep, and what to do about bad rows.
        place: Where the rows come from, for errors.

    Returns:
        The examples, in the order of their first rows.

    Raises:
        MpnInputError: If a language has no rows, a row is bad and bad rows are refused, a label
            that is asked for does not occur, or no example is left.
    """
    found = _gather(rows, languages)
    empty = [language for language in languages if language not in found.seen]
    if empty:
        there = " ".join(sorted(found.seen)) or "none"
        raise MpnInputError(
            place, f"no row in {', '.join(empty)}", f"name others in dataset.languages: {there}"
        )
    findings = Findings()
    labels = spellings(known_labels or _labels_in(found))
    examples, n_unverified = _examples(found, languages, labels, settings, findings)
    if findings and settings.bad_rows == "refuse":
        raise MpnInputError(
            place,
            f"bad rows: {findings}",
            f"mend them, or set dataset.bad_rows: drop, which leaves out {findings.n_bad} of "
            f"{found.n_ids} examples",
        )
    dropped = findings.counts() | ({UNVERIFIED: n_unverified} if n_unverified else {})
    if dropped:
        reasons = ", ".join(f"{kind}: {n}" for kind, n in dropped.items())
        n_out = findings.n_bad + n_unverified
        _log.warning("%s: %d of %d examples left out (%s)", place, n_out, found.n_ids, reasons)
    kept = _labels_kept(labels, {label for _, label in examples}, settings.labels, place)
    chosen = tuple(
        replace(example, label=kept.index(label)) for example, label in examples if label in kept
    )[: settings.limit]
    if not chosen:
        raise MpnInputError(place, f"no example is left; {found.n_ids} ids", "give other rows")
    digest = _digest(settings.name, languages, kept, chosen)
    return Corpus(settings.name, languages, kept, chosen, digest, dropped)


@dataclass(frozen=True)
class _Gathered:
    """Rows by id and language.

    Attributes:
        by_id: All rows of an id, per language.
        nameless: Rows without an id or a language.
        seen: Languages that any row has.
    """

    by_id: dict[str, dict[str, list[Row]]]
    nameless: list[Row]
    seen: set[str]

    @property
    def n_ids(self) -> int:
        return len(self.by_id)


def _gather(rows: Iterable[Row], languages: Sequence[str]) -> _Gathered:
    by_id: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    nameless, seen, wanted = [], set(), set(languages)
    for row in rows:
        if is_language(row.language):
            seen.add(row.language)
            if row.language not in wanted:
                continue
        if row.id.strip() and is_language(row.language):
            by_id[row.id][row.language].append(row)
        else:
            nameless.append(row)
    return _Gathered(by_id, nameless, seen)


def _labels_in(found: _Gathered) -> list[str]:
    """Return the labels that the rows have, in the order of the alphabet."""
    labels = {
        row.label
        for versions in found.by_id.values()
        for same in versions.values()
        for row in same
        if row.label.strip()
    }
    return sorted(labels, key=lambda label: (label_key(label), label))


def _examples(
    found: _Gathered,
    languages: Sequence[str],
    labels: Mapping[str, str],
    settings: DatasetSettings,
    findings: Findings,
) -> tuple[list[tuple[ParallelExample, str]], int]:
    """Return the usable examples with the names of their labels, and how many are unverified."""
    for row in found.nameless:
        kind = "row without an id" if is_language(row.language) else "no language tag"
        findings.add(kind, f"id {quoted(row.id)} in {quoted(row.language)}", None)
    trusted = _TRUSTED[settings.verified]
    examples = []
    n_unverified = 0
    for example_id, versions in found.by_id.items():
        usable = {
            language: [row for row in same if row.status in trusted]
            for language, same in versions.items()
        }
        if not all(usable.values()):
            n_unverified += 1
            continue
        n_before = findings.n_bad
        _check(example_id, usable, languages, labels, settings, findings)
        if findings.n_bad == n_before:
            rows = {language: usable[language][0] for language in languages}
            first = rows[languages[0]]
            examples.append((_parallel(rows, first), labels[label_key(first.label)]))
    return examples, n_unverified


def _check(
    example_id: str,
    versions: Mapping[str, Sequence[Row]],
    languages: Sequence[str],
    labels: Mapping[str, str],
    settings: DatasetSettings,
    findings: Findings,
) -> None:
    """Note all that is wrong with one example."""
    name = f"id {quoted(example_id)}"

    def add(kind: str, example: str) -> None:
        findings.add(kind, example, example_id)

    missing = [language for language in languages if language not in versions]
    if missing:
        add("id missing in a language", f"{name} not in {', '.join(missing)}")
    for language, same in versions.items():
        if len(same) > 1:
            add("duplicate id", f"{name} {len(same)} times in {language}")
        for row in same:
            if label_key(row.label) not in labels:
                add("unknown label", f"{quoted(row.label)}, {name} in {language}")
            for fault in faults_of(row, settings.max_characters):
                add(fault, f"{name} in {language}")
    rows = [row for language in languages for row in versions.get(language, ())]
    if len({label_key(row.label) for row in rows} & set(labels)) > 1:
        add("label differs between languages", f"{name}: {_by_language(rows, 'label')}")
    if len({row.group for row in rows}) > 1:
        add("group differs between languages", f"{name}: {_by_language(rows, 'group')}")
    if len({len(text) for row in rows for text in (row.text, *row.rephrases)}) > 1:
        add("a single text here, a pair there", name)


def _by_language(rows: Sequence[Row], attribute: str) -> str:
    """Say who has what, naming each value once."""
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(getattr(row, attribute), row.language)
    return ", ".join(f"{quoted(value)} in {language}" for value, language in first.items())


def _parallel(rows: dict[str, Row], first: Row) -> ParallelExample:
    return ParallelExample(
        example_id=first.id,
        group=first.group or first.id,
        label=0,
        texts={language: row.text for language, row in rows.items()},
        rephrases={language: row.rephrases for language, row in rows.items()},
    )


def _labels_kept(
    labels: Mapping[str, str], occurring: set[str], asked: Sequence[str] | None, place: str
) -> tuple[str, ...]:
    """Return the labels of the corpus: those that are asked for, or that occur."""
    if asked is None:
        return tuple(label for label in labels.values() if label in occurring)
    strange = [name for name in asked if labels.get(label_key(name)) not in occurring]
    if strange:
        raise MpnInputError(
            "dataset.labels",
            f"no example of {place} has {', '.join(strange)}",
            f"its labels are {', '.join(sorted(occurring)) or 'none'}",
        )
    return tuple(dict.fromkeys(labels[label_key(name)] for name in asked))


def _digest(
    name: str,
    languages: Sequence[str],
    labels: Sequence[str],
    examples: Sequence[ParallelExample],
) -> str:
    content = [[e.example_id, e.group, e.label, dict(e.texts), dict(e.rephrases)] for e in examples]
    text = json.dumps([name, languages, labels, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
