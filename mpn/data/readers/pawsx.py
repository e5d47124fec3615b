"""PAWS-X (Yang et al. 2019): pairs of sentences in 7 languages, paraphrases or not."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mpn.data.readers.protocol import check_pinned, field_of
from mpn.data.reading import Record, hub_records, read_records
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.errors import MpnInputError
from mpn.languages import is_language

LANGUAGES = tuple("de en es fr ja ko zh".split())
LABELS = ("not_paraphrase", "paraphrase")
HUB_NAME = "google-research-datasets/paws-x"
_NOT_TRANSLATED = "NS"
"""What the release has in place of a sentence that nobody translated."""


class PawsxReader:
    """Reads the hub's layout, or the release's TSV files.

    Without a path, from the hub. A path is a folder with one folder per language, of Parquet files
    as on the hub or of ``{split}_2k.tsv``, ``translated_{split}.tsv`` or ``{split}.tsv``.
    """

    settings = frozenset({"path", "revision", "split"})
    labels = LABELS

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """See :class:`Reader`."""
        if settings.path is None:
            return LANGUAGES
        folder = Path(settings.path)
        tags = sorted(path.name for path in folder.glob("*/") if is_language(path.name))
        found = tuple(tag for tag in tags if _tsv(settings, tag) or _parquet(settings, tag))
        if not found:
            raise MpnInputError(
                "dataset.path",
                f"{folder} has no LANGUAGE/{settings.split}_2k.tsv",
                "give a folder with one folder per language, as PAWS-X is released or on the hub",
            )
        return found

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """See :class:`Reader`."""
        if settings.path is None:
            check_pinned(settings, HUB_NAME)
            return {}
        found = {}
        for language in languages:
            table = _tsv(settings, language)
            for path in [table] if table else _parquet(settings, language):
                found[f"{language}/{path.name}"] = path
        return found

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        for language in languages:
            table = None if settings.path is None else _tsv(settings, language)
            if table is not None:
                for place, record in read_records(table):
                    yield _row(record, language, place)
                continue
            where = settings.path or HUB_NAME
            split = _hub_split(settings)
            records = hub_records(where, language, split, settings.revision, cache)
            for number, record in enumerate(records):
                yield _row(record, language, f"{where}, {language}, row {number}")


def _tsv(settings: DatasetSettings, language: str) -> Path | None:
    folder = Path(settings.path or "") / language
    names = (f"{settings.split}_2k.tsv", f"translated_{settings.split}.tsv")
    paths = (folder / name for name in (*names, f"{settings.split}.tsv"))
    return next((path for path in paths if path.is_file()), None)


def _parquet(settings: DatasetSettings, language: str) -> list[Path]:
    folder = Path(settings.path or "") / language
    return sorted(folder.glob(f"{_hub_split(settings)}-*.parquet"))


def _hub_split(settings: DatasetSettings) -> str:
    return {"dev": "validation"}.get(settings.split, settings.split)


def _row(record: Record, language: str, place: str) -> Row:
    number = field_of(record, ["label"], place)
    sentences = (field_of(record, [name], place) for name in ("sentence1", "sentence2"))
    return Row(
        id=field_of(record, ["id"], place),
        group="",
        language=language,
        label={"0": LABELS[0], "1": LABELS[1]}.get(number, number),
        text=tuple("" if text.strip() == _NOT_TRANSLATED else text for text in sentences),
    )
