"""Corpora by name: what a study file may ask for, and how it is loaded and fingerprinted."""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from mpn.data.alignment import align
from mpn.data.corpus import Corpus
from mpn.data.labels import label_key
from mpn.data.mini.claims import mini_corpus
from mpn.data.readers.fever import FeverReader
from mpn.data.readers.files import FilesReader
from mpn.data.readers.parallel import XfeverReader
from mpn.data.readers.pawsx import PawsxReader
from mpn.data.readers.protocol import Reader
from mpn.data.readers.xnli import XnliReader
from mpn.data.settings import DatasetSettings
from mpn.errors import MpnInputError
from mpn.languages import check_language

__all__ = ["CONTENT", "DatasetSettings", "corpus_fingerprint", "corpus_languages", "load_corpus"]

READERS: Mapping[str, Reader] = {
    "xnli": XnliReader(),
    "pawsx": PawsxReader(),
    "fever": FeverReader(),
    "xfever": XfeverReader(),
    "files": FilesReader(),
}
CONTENT = (
    *("name", "path", "revision", "split", "languages", "labels", "evidence", "columns"),
    *("verified", "bad_rows", "max_characters", "limit"),
)
"""Settings that say what the corpus is, as :func:`corpus_fingerprint` does; the others say what is
done with it."""

_OF_FILES = frozenset({"labels", "bad_rows", "max_characters"})
_OF_SOME = frozenset({"path", "revision", "split", "evidence", "columns", "verified"})
_IN_FINGERPRINT = ("split", "revision", "labels", "evidence", "columns", "verified")


def corpus_languages(settings: DatasetSettings) -> tuple[str, ...]:
    """Return the languages that are asked for, without reading any row.

    Raises:
        MpnInputError: If the corpus does not have one of them, one is named twice, or ``all`` is
            asked of files that do not tell; or for a setting that this corpus does not heed.
    """
    _check_heeded(settings)
    place = "dataset.languages"
    if settings.name == "mini":
        known: tuple[str, ...] | None = mini_corpus().languages
    else:
        known = READERS[settings.name].languages(settings)
    if settings.languages == "all":
        if known is None:
            raise MpnInputError(
                place, "all", "the files' names do not tell: write those you want, as [en, sw]"
            )
        return known
    languages = tuple(check_language(tag, place=place) for tag in settings.languages)
    unknown = [] if known is None else [tag for tag in languages if tag not in known]
    if unknown or len(set(languages)) < len(languages) or not languages:
        found = f"{', '.join(unknown)} not in {settings.path or settings.name}"
        raise MpnInputError(
            place,
            found if unknown else "a language twice" if languages else "no language",
            f"{settings.name} has {' '.join(known)}" if known else "name each once",
        )
    return languages


def corpus_fingerprint(settings: DatasetSettings) -> str:
    """Hash what :func:`load_corpus` would give, without loading it.

    Whether bad rows are refused does not enter: a corpus that is not refused has none to drop.

    Raises:
        MpnInputError: If a file of a local corpus is missing, or one of the hub is not pinned.
    """
    languages = corpus_languages(settings)
    content: dict[str, object] = {"name": settings.name, "languages": languages}
    if settings.name == "mini":
        content["corpus"] = mini_corpus().fingerprint
    else:
        files = READERS[settings.name].files(settings, languages)
        content["files"] = {name: _file_digest(path) for name, path in files.items()}
        content |= {name: getattr(settings, name) for name in _IN_FINGERPRINT}
        content["max_characters"] = settings.max_characters
    content["limit"] = settings.limit
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_corpus(settings: DatasetSettings, cache: Path) -> Corpus:
    """Load a corpus.

    Args:
        settings: What to load.
        cache: Where ``datasets`` keeps what it downloads.

    Raises:
        MpnInputError: If it cannot be loaded, or has bad rows and those are refused.
    """
    languages = corpus_languages(settings)
    if settings.name == "mini":
        return mini_corpus().restricted(languages, settings.limit)
    reader = READERS[settings.name]
    reader.files(settings, languages)
    return align(
        reader.rows(settings, languages, cache),
        languages=languages,
        known_labels=reader.labels,
        settings=settings,
        place=settings.path or settings.name,
    )


def _check_heeded(settings: DatasetSettings) -> None:
    """Refuse a setting that would do nothing, and a label that no corpus of this name has.

    Raises:
        MpnInputError: See above.
    """
    heeded = frozenset() if settings.name == "mini" else READERS[settings.name].settings | _OF_FILES
    default = DatasetSettings()
    for name in sorted((_OF_SOME | _OF_FILES) - heeded):
        if getattr(settings, name) != getattr(default, name):
            raise MpnInputError(
                f"dataset.{name}",
                f"{getattr(settings, name)}, which {settings.name} does not heed",
                f"leave it out; {settings.name} heeds {', '.join(sorted(heeded)) or 'none such'}",
            )
    if settings.path is not None and settings.revision is not None:
        raise MpnInputError(
            "dataset.revision",
            f"{settings.revision}, beside a path",
            "leave it out: files are known by their contents",
        )
    known = () if settings.name == "mini" else READERS[settings.name].labels
    strange = set(map(label_key, settings.labels or ())) - set(map(label_key, known))
    if known and strange:
        raise MpnInputError(
            "dataset.labels", ", ".join(sorted(strange)), f"{settings.name} has {', '.join(known)}"
        )


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
