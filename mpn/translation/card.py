"""The card of a translated corpus: where it comes from, and how far it can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mpn.data.parallel_folder import CARD, FolderRow, write_card
from mpn.data.rows import STATUSES
from mpn.errors import MpnInputError
from mpn.translation.settings import CheckSettings, TranslatorSettings

_BEGIN, _END = "<!-- counts -->", "<!-- end of counts -->"
_FENCE = "---\n"

Rows = Mapping[tuple[str, str], Sequence[FolderRow]]
"""Split and language, to rows."""


@dataclass(frozen=True)
class Facts:
    """What is known of a corpus when it is made.

    Attributes:
        corpus: Name of the source corpus.
        fingerprint: Its digest.
        source: The source language.
        targets: The languages that were translated to.
        licence: Of the source, and so of what is made of it.
        models: Name with version of each model, to the fingerprint of its files.
        translator: How they decoded.
        checks: When rows were flagged.
        rephrase_via: Languages that rephrases went through.
    """

    corpus: str
    fingerprint: str
    source: str
    targets: tuple[str, ...]
    licence: str
    models: Mapping[str, str]
    translator: TranslatorSettings
    checks: CheckSettings
    rephrase_via: tuple[str, ...]


@dataclass(frozen=True)
class LanguageCounts:
    """One language of a corpus in figures.

    Attributes:
        language: Its tag.
        n_rows: All rows.
        statuses: Rows by status.
        flags: Rows by flag; a row can have several.
        round_trip: Mean chrF of those that were translated back, or None.
        n_rephrased: Rows with rephrases made by a machine.
    """

    language: str
    n_rows: int
    statuses: Mapping[str, int]
    flags: Mapping[str, int]
    round_trip: float | None
    n_rephrased: int


def count(rows: Rows) -> list[LanguageCounts]:
    """Count rows by language, the source first."""
    by_language: dict[str, list[FolderRow]] = {}
    for (_, language), found in rows.items():
        by_language.setdefault(language, []).extend(found)
    counts = []
    for language, found in by_language.items():
        scores = [row.round_trip for row in found if row.round_trip is not None]
        counts.append(
            LanguageCounts(
                language,
                len(found),
                Counter(row.status for row in found),
                Counter(flag for row in found for flag in row.flags),
                sum(scores) / len(scores) if scores else None,
                sum(row.rephrases_origin == "machine" for row in found),
            )
        )
    return sorted(counts, key=lambda one: ("source" not in one.statuses, one.language))


def publish_card(folder: Path, facts: Facts, rows: Rows) -> None:
    """Write the card of a folder whose rows are written."""
    about = {
        "license": facts.licence,
        "pretty_name": f"{facts.corpus}, translated by machine",
        "task_categories": ["text-classification"],
        "tags": ["machine-translated"],
    }
    write_card(folder, about, _text(facts, rows))


def recount(folder: Path, rows: Rows) -> None:
    """Bring the counts of a card up to date; everything else of it stays.

    Raises:
        MpnInputError: If it is not a card of ours.
    """
    about, text = _read(folder)
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise MpnInputError(
            str(folder / CARD), f"no longer has {_BEGIN} and {_END}", "put both lines back"
        )
    write_card(folder, about, before + _counts(rows) + after)


def _read(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the front matter of a card, without what is written anew, and its text."""
    try:
        empty, front, text = (folder / CARD).read_text(encoding="utf-8").split(_FENCE, 2)
        about = yaml.safe_load(front)
    except (OSError, ValueError, yaml.YAMLError):
        about, empty, text = None, "", ""
    if not isinstance(about, dict) or empty:
        raise MpnInputError(
            str(folder / CARD), "cannot be read as a card", "restore its front matter"
        )
    return {key: about[key] for key in about if key not in ("language", "configs")}, text


def _text(facts: Facts, rows: Rows) -> str:
    translator, checks = facts.translator, facts.checks
    targets = ", ".join(facts.targets) or "no other language"
    models = "\n".join(f"| {model} | `{digest}` |" for model, digest in facts.models.items())
    rephrases = ""
    if facts.rephrase_via:
        rephrases = (
            "\n## Rephrases\n\n"
            f"Rows with `rephrases_origin: machine` have rephrases that went through "
            f"{', '.join(facts.rephrase_via)} and back. They differ from the text, and lose no "
            "number and no name that a check can see; no person has read them.\n"
        )
    return f"""# {facts.corpus}, translated by machine

The texts of {facts.corpus} in `{facts.source}` (`{facts.fingerprint}`), and their translations to
{targets}. Ids, groups and labels are those of the source.

**Licence.** {facts.licence}, as the source's. The licences of the models hold as well.

| model | SHA-256 of its files |
| --- | --- |
{models}

Decoded with {translator.beams} beams without sampling, at most {translator.max_tokens} tokens.

## Status of the rows

{_counts(rows)}

`origin` says whether a text was written by people or by a machine. `flags` names what speaks
against a translation: `empty`; `copy`, it is the source; `repetition`; `numbers` or `names` of the
source are missing; `length`, not between {checks.shortest} and {checks.longest} times the source's;
`round_trip`, translated back it has a chrF below {checks.round_trip}; `truncated`. A translation
without flags has the status `passed`, which no person has confirmed.
{rephrases}
## Reading and reviewing it

```python
datasets.load_dataset("FOLDER", "{(facts.targets or (facts.source,))[0]}")
```

```
mpn data review export FOLDER -o flagged.csv
mpn data review import FOLDER flagged.csv
```

In between, a person writes `accept`, `correct` or `reject` into the column `decision`. A study
takes what has passed or was reviewed with
`dataset: {{name: xfever, path: FOLDER, verified: only}}`.
"""


def _counts(rows: Rows) -> str:
    found = count(rows)
    lines = [
        f"| language | rows | {' | '.join(STATUSES)} | chrF | rephrased |",
        "| --- " * (len(STATUSES) + 4) + "|",
    ]
    for one in found:
        statuses = " | ".join(str(one.statuses.get(status, 0)) for status in STATUSES)
        chrf = "" if one.round_trip is None else f"{one.round_trip:.1f}"
        lines.append(f"| {one.language} | {one.n_rows} | {statuses} | {chrf} | {one.n_rephrased} |")
    flagged = [
        f"- `{one.language}`: " + ", ".join(f"{flag} {n}" for flag, n in sorted(one.flags.items()))
        for one in found
        if one.flags
    ]
    table = "\n".join(lines)
    by_flag = "\n\nRows by flag:\n\n" + "\n".join(flagged) if flagged else ""
    return f"{_BEGIN}\n{table}{by_flag}\n{_END}"
