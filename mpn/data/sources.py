"""Corpora by name: what a study file may ask for, and how it is loaded and fingerprinted."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from mpn.data.corpus import Corpus
from mpn.data.mini.claims import mini_corpus
from mpn.data.xnli import LANGUAGES, xnli_file, xnli_from_folder, xnli_from_hub
from mpn.errors import MpnInputError
from mpn.settings import Settings


class DatasetSettings(Settings):
    """Which examples to edit, to remember and to evaluate on.

    Attributes:
        name: ``mini``, the embedded corpus, or ``xnli``.
        path: For ``xnli``: folder of one JSON Lines file per language and split; ``null`` reads
            the hub's.
        revision: For the hub: commit of the data set.
        split: For ``xnli``: ``dev`` or ``test``.
        languages: Which languages to use; ``all`` that the corpus has.
        limit: Use only the first so many examples; ``null`` uses all.
        seed: Deals the examples to their roles.
        evaluation_examples: Unrelated examples, each in every language, that locality is
            measured on; ``all`` that are set aside for it.
        evaluation_sample: How many of them, the same ones for every trial, at layers below the
            last, where each evaluation runs the rest of the model.
        neighbours: Examples near an edit that near locality is measured on.
    """

    name: Literal["mini", "xnli"] = "mini"
    path: str | None = None
    revision: str | None = None
    split: Literal["dev", "test"] = "test"
    languages: Literal["all"] | list[str] = "all"
    limit: PositiveInt | None = None
    seed: NonNegativeInt = 0
    evaluation_examples: PositiveInt | Literal["all"] = "all"
    evaluation_sample: PositiveInt = 48
    neighbours: NonNegativeInt = 4


def corpus_languages(settings: DatasetSettings) -> tuple[str, ...]:
    """Return the languages that are asked for.

    Raises:
        MpnInputError: If the corpus does not have one of them, or one is named twice.
    """
    known = mini_corpus().languages if settings.name == "mini" else LANGUAGES
    if settings.languages == "all":
        return known
    unknown = [language for language in settings.languages if language not in known]
    if unknown or len(set(settings.languages)) < len(settings.languages):
        raise MpnInputError(
            "dataset.languages",
            f"{', '.join(unknown)} not in {settings.name}" if unknown else "a language twice",
            f"{settings.name} has {' '.join(known)}",
        )
    return tuple(settings.languages)


def corpus_fingerprint(settings: DatasetSettings) -> str:
    """Hash what :func:`load_corpus` would give, without loading it.

    Raises:
        MpnInputError: If a file of a local corpus is missing.
    """
    languages = corpus_languages(settings)
    content: dict[str, object] = {"name": settings.name, "languages": languages}
    if settings.name == "mini":
        content["corpus"] = mini_corpus().fingerprint
    elif settings.path is None:
        content |= {"revision": settings.revision, "split": settings.split}
    else:
        content["files"] = {
            language: _file_digest(xnli_file(Path(settings.path), settings.split, language))
            for language in languages
        }
    content["limit"] = settings.limit
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_corpus(settings: DatasetSettings, cache: Path) -> Corpus:
    """Load a corpus.

    Args:
        settings: What to load.
        cache: Where ``datasets`` keeps its copies.

    Raises:
        MpnInputError: If it cannot be loaded, or is not aligned.
    """
    languages = corpus_languages(settings)
    if settings.name == "mini":
        return mini_corpus().restricted(languages, settings.limit)
    if settings.path is None:
        return xnli_from_hub(
            split=settings.split,
            languages=languages,
            limit=settings.limit,
            revision=settings.revision,
            cache=cache,
        )
    return xnli_from_folder(
        Path(settings.path),
        split=settings.split,
        languages=languages,
        limit=settings.limit,
        cache=cache,
    )


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
