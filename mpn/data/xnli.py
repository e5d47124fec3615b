"""XNLI (Conneau et al. 2018): premise and hypothesis in 15 languages, from a folder or the hub."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mpn.data.corpus import Corpus
from mpn.edits import ParallelExample, Text
from mpn.errors import MpnInputError

LANGUAGES = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())
LABELS = ("entailment", "neutral", "contradiction")
HUB_NAME = "facebook/xnli"


def xnli_from_folder(
    folder: Path, *, split: str, languages: tuple[str, ...], limit: int | None, cache: Path
) -> Corpus:
    """Read one JSON Lines file per language and split.

    Args:
        folder: Holds ``{split}.{language}.jsonl`` or ``.jsonl.gz``, with fields ``pair_id``,
            ``prompt_id`` (the premise), ``label``, ``premise`` and ``hypothesis``; the same
            ``pair_id`` is the same example in every language.
        split: ``dev`` or ``test``.
        languages: Which to read.
        limit: Use only the first so many examples.
        cache: Where ``datasets`` keeps its copies.

    Returns:
        The examples that stand in every language, in the order of the first.

    Raises:
        MpnInputError: If a file is missing or unreadable, languages have no example in common,
            or labels of one example differ between languages.
    """
    rows = {
        language: _by_id(_read_file(folder, split, language, cache), folder, language)
        for language in languages
    }
    first = rows[languages[0]]
    ids = [pair_id for pair_id in first if all(pair_id in other for other in rows.values())]
    if not ids:
        raise MpnInputError(
            str(folder), "no pair_id stands in all languages", "align the files by pair_id"
        )
    examples = []
    for pair_id in ids[:limit]:
        labels = {str(rows[language][pair_id]["label"]) for language in languages}
        if len(labels) > 1 or not labels <= set(LABELS):
            raise MpnInputError(
                f"{folder}, pair_id {pair_id}",
                f"label {' and '.join(sorted(labels))}",
                f"write one of {', '.join(LABELS)}, the same in every language",
            )
        texts = {language: _text(rows[language][pair_id]) for language in languages}
        label = LABELS.index(labels.pop())
        group = str(first[pair_id]["prompt_id"])
        examples.append(ParallelExample(pair_id, group, label, texts))
    return _corpus(examples, languages)


def xnli_from_hub(
    *, split: str, languages: tuple[str, ...], limit: int | None, revision: str | None, cache: Path
) -> Corpus:
    """Read ``facebook/xnli`` in its ``all_languages`` form; arguments as above.

    Premises that are equal in the first language form a group, since the hub's rows carry no
    premise ids.

    Raises:
        MpnInputError: If the hub cannot be reached and holds no copy in the cache.
    """
    try:
        rows = _load(
            HUB_NAME,
            cache,
            name="all_languages",
            split={"dev": "validation"}.get(split, split),
            revision=revision,
        )
    except (OSError, ValueError) as error:
        raise MpnInputError(
            "dataset",
            f"{HUB_NAME} cannot be loaded ({str(error).splitlines()[0]})",
            "check the network, or set dataset.path to a folder of XNLI files",
        ) from error
    examples = []
    for i, row in enumerate(rows):
        if limit is not None and i >= limit:
            break
        hypotheses = dict(
            zip(row["hypothesis"]["language"], row["hypothesis"]["translation"], strict=True)
        )
        texts = {lang: (row["premise"][lang], hypotheses[lang]) for lang in languages}
        group = hashlib.sha256(row["premise"][languages[0]].encode()).hexdigest()[:16]
        examples.append(ParallelExample(f"{split}-{i}", group, row["label"], texts))
    return _corpus(examples, languages)


def _load(path: str, cache: Path, **options: Any) -> Iterable[Mapping[str, Any]]:
    import datasets  # takes most of a second, which planning a study need not wait for

    datasets.disable_progress_bars()
    rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(path, cache_dir=str(cache), **options)
    return rows


def xnli_file(folder: Path, split: str, language: str) -> Path:
    """Return the file of one split and language.

    Raises:
        MpnInputError: If the folder has none.
    """
    for name in (f"{split}.{language}.jsonl.gz", f"{split}.{language}.jsonl"):
        if (folder / name).is_file():
            return folder / name
    raise MpnInputError(
        "dataset.path",
        f"{folder} has no {split}.{language}.jsonl.gz",
        "give a folder with one JSON Lines file per language and split",
    )


def _read_file(folder: Path, split: str, language: str, cache: Path) -> Iterable[Mapping[str, Any]]:
    path = xnli_file(folder, split, language)
    try:
        return _load("json", cache, data_files=str(path), split="train")
    except Exception as error:  # datasets raises many kinds for a damaged file
        raise MpnInputError(
            str(path), f"unreadable ({error})", "give JSON Lines, gzipped or not"
        ) from error


def _by_id(
    rows: Iterable[Mapping[str, Any]], folder: Path, language: str
) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        missing = {"pair_id", "prompt_id", "label", "premise", "hypothesis"} - set(row)
        if missing:
            raise MpnInputError(
                f"{folder}, {language}", f"rows have no {', '.join(sorted(missing))}", "add them"
            )
        found[str(row["pair_id"])] = row
    return found


def _text(row: Mapping[str, Any]) -> Text:
    return (str(row["premise"]), str(row["hypothesis"]))


def _corpus(examples: list[ParallelExample], languages: tuple[str, ...]) -> Corpus:
    content = [[e.example_id, e.group, e.label, dict(e.texts)] for e in examples]
    text = json.dumps(["xnli", content], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Corpus("xnli", languages, LABELS, tuple(examples), digest)
