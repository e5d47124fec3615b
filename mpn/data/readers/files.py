"""One's own files: a row is an id, a language, a label, and a text or a text pair."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mpn.data.file_sets import by_name, find_files, language_of, languages_of
from mpn.data.parallel_folder import contents
from mpn.data.readers.parallel import ParallelReader
from mpn.data.readers.protocol import field_of, needed_path, rephrases_of
from mpn.data.reading import Record, read_records
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.edits import Text
from mpn.errors import MpnInputError


class FilesReader:
    """Reads JSON Lines, CSV, TSV or Parquet, or a parallel folder.

    Columns are ``id``, ``label`` and ``text``; ``language``, unless each file's name ends in one
    (``test.sw.jsonl``); and, where there are any, ``text_pair``, ``group`` and ``rephrases``.
    """

    settings = frozenset({"path", "split", "columns", "verified"})
    labels: tuple[str, ...] = ()

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """See :class:`Reader`."""
        if _is_parallel(settings):
            return ParallelReader().languages(settings)
        return languages_of(find_files(needed_path(settings), settings.split))

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """See :class:`Reader`."""
        if _is_parallel(settings):
            return ParallelReader().files(settings, languages)
        return by_name(find_files(needed_path(settings), settings.split), languages)

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        if _is_parallel(settings):
            yield from ParallelReader().rows(settings, languages, cache)
            return
        columns = {str(name): column for name, column in settings.columns.items()}
        for path in self.files(settings, languages).values():
            for place, record in read_records(path):
                yield _row(record, columns, language_of(path), place)


def _is_parallel(settings: DatasetSettings) -> bool:
    return bool(contents(Path(needed_path(settings))))


def _row(record: Record, columns: Mapping[str, str], file_language: str | None, place: str) -> Row:
    absent = [name for name in columns.values() if name not in record]
    if absent:
        raise MpnInputError(
            place,
            f"no {', '.join(absent)}, which dataset.columns names",
            f"its fields are {', '.join(record)}",
        )
    called = {name: columns.get(name, name) for name in Row.__dataclass_fields__}
    pair = columns.get("text_pair", "text_pair")

    def optional(name: str, otherwise: str) -> str:
        return field_of({name: otherwise, **record}, [name], place)

    text: Text = (field_of(record, [called["text"]], place),)
    if record.get(pair) is not None:
        text = (*text, field_of(record, [pair], place))
    if file_language is None and called["language"] not in record:
        raise MpnInputError(
            place,
            f"no {called['language']}, and the file's name tells no language",
            "add the column, or name the files like test.sw.jsonl",
        )
    return Row(
        id=field_of(record, [called["id"]], place),
        group=optional(called["group"], ""),
        language=optional(called["language"], file_language or ""),
        label=field_of(record, [called["label"]], place),
        text=text,
        rephrases=rephrases_of(record.get(called["rephrases"]), text, f"{place}, rephrases"),
    )
