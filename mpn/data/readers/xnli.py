"""XNLI (Conneau et al. 2018): premise and hypothesis in 15 languages."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mpn.data.file_sets import language_of
from mpn.data.readers.protocol import check_pinned, field_of
from mpn.data.reading import hub_records, read_records
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.errors import MpnInputError

LANGUAGES = tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split())
LABELS = ("entailment", "neutral", "contradiction")
HUB_NAME = "facebook/xnli"
_HUB_CONFIG = "all_languages"


class XnliReader:
    """Reads the hub's layout, one file a language, or the official TSV.

    Without a path, from the hub. A path is

    - a folder in the hub's layout, with ``all_languages/``;
    - the official ``xnli.dev.tsv`` or ``xnli.test.tsv``, or their folder;
    - a folder of ``{split}.{language}.jsonl`` or ``.jsonl.gz`` with ``pair_id``, ``label``,
      ``premise``, ``hypothesis`` and, for the group, ``prompt_id``; or one such file with
      ``language``.
    """

    settings = frozenset({"path", "revision", "split"})
    labels = LABELS

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """See :class:`Reader`."""
        if _is_hub(settings) or _one_file(settings) is not None:
            return LANGUAGES
        found = _by_language(settings)
        return tuple(sorted(found, key=lambda tag: (tag not in LANGUAGES, tag)))

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """See :class:`Reader`."""
        if settings.path is None:
            check_pinned(settings, HUB_NAME)
            return {}
        if _is_hub(settings):
            folder = Path(settings.path)
            parts = [*sorted((folder / _HUB_CONFIG).glob("*.parquet")), folder / "README.md"]
            return {path.name: path for path in parts if path.is_file()}
        one = _one_file(settings)
        if one is not None:
            return {one.name: one}
        found = _by_language(settings)
        return {language: found[language] for language in languages}

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        if _is_hub(settings):
            yield from _hub_rows(settings, languages, cache)
            return
        groups: dict[str, str] = {}
        for name, path in self.files(settings, languages).items():
            official = path.name.removesuffix(".gz").endswith(".tsv")
            for place, record in read_records(path):
                if official:
                    yield _official_row(record, place)
                else:
                    yield _shared_row(record, place, name, groups)


def _is_hub(settings: DatasetSettings) -> bool:
    return settings.path is None or (Path(settings.path) / _HUB_CONFIG).is_dir()


def _one_file(settings: DatasetSettings) -> Path | None:
    path = Path(settings.path or "")
    official = path / f"xnli.{settings.split}.tsv"
    return next((file for file in (path, official) if file.is_file()), None)


def _by_language(settings: DatasetSettings) -> dict[str, Path]:
    folder = Path(settings.path or "")
    found = {}
    for end in ("jsonl", "jsonl.gz"):
        for path in folder.glob(f"{settings.split}.*.{end}"):
            language = language_of(path)
            if language is not None and path.name == f"{settings.split}.{language}.{end}":
                found[language] = path
    if not found:
        raise MpnInputError(
            "dataset.path",
            f"{folder} has no {settings.split}.LANGUAGE.jsonl, xnli.{settings.split}.tsv or "
            f"{_HUB_CONFIG}",
            "give a folder with one JSON Lines file per language and split, the official TSV "
            "files, or the hub's",
        )
    return found


def _hub_rows(settings: DatasetSettings, languages: Sequence[str], cache: Path) -> Iterator[Row]:
    """Yield rows of the ``all_languages`` form, which has no ids: equal premises form a group."""
    split = {"dev": "validation"}.get(settings.split, settings.split)
    where = settings.path or HUB_NAME
    records = hub_records(where, _HUB_CONFIG, split, settings.revision, cache)
    for number, record in enumerate(records):
        place = f"{where}, row {number}"
        try:
            premises, found = dict(record["premise"]), record["hypothesis"]
            hypotheses = dict(zip(found["language"], found["translation"], strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise MpnInputError(
                place, "no hypothesis in many languages beside its premise", f"give {HUB_NAME}"
            ) from error
        group = _hash(premises.get("en") or premises.get(languages[0]) or "")
        for language in languages:
            yield Row(
                id=f"{settings.split}-{number}",
                group=group,
                language=language,
                label=field_of(record, ["label"], place),
                text=(premises.get(language) or "", hypotheses.get(language) or ""),
            )


def _official_row(record: Mapping[str, str], place: str) -> Row:
    return Row(
        id=field_of(record, ["pairID"], place),
        group=field_of(record, ["promptID"], place),
        language=field_of(record, ["language"], place),
        label=field_of(record, ["gold_label"], place),
        text=(field_of(record, ["sentence1"], place), field_of(record, ["sentence2"], place)),
    )


def _shared_row(
    record: Mapping[str, object], place: str, file_language: str, groups: dict[str, str]
) -> Row:
    pair_id = field_of(record, ["pair_id"], place)
    premise = field_of(record, ["premise"], place)
    if "prompt_id" in record:
        group = field_of(record, ["prompt_id"], place)
    else:
        group = groups.setdefault(pair_id, _hash(premise))
    return Row(
        id=pair_id,
        group=group,
        language=field_of({"language": file_language, **record}, ["language"], place),
        label=field_of(record, ["label"], place),
        text=(premise, field_of(record, ["hypothesis"], place)),
    )


def _hash(premise: str) -> str:
    return hashlib.sha256(premise.encode(errors="surrogatepass")).hexdigest()[:16]
