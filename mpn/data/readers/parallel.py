"""Parallel folders: XFEVER, as it was translated, or any other corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mpn.data.parallel_folder import contents, file_of, read_rows
from mpn.data.readers.fever import LABELS
from mpn.data.readers.protocol import needed_path
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.errors import MpnInputError


class ParallelReader:
    """Reads the folders of :mod:`mpn.data.parallel_folder`, texts as they are."""

    settings = frozenset({"path", "split", "verified"})
    labels: tuple[str, ...] = ()

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """See :class:`Reader`."""
        path = needed_path(settings)
        splits = contents(Path(path))
        if settings.split not in splits:
            has = f"it has {', '.join(splits)}" if splits else "give a parallel folder"
            raise MpnInputError(
                "dataset.split" if splits else "dataset.path",
                f"{path} has no data/{settings.split}/LANGUAGE.parquet",
                has,
            )
        return splits[settings.split]

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """See :class:`Reader`."""
        folder = Path(needed_path(settings))
        return {language: file_of(folder, settings.split, language) for language in languages}

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        for language in languages:
            yield from read_rows(Path(needed_path(settings)), settings.split, language)


class XfeverReader(ParallelReader):
    """Reads claims, with or without their evidence, which is the second segment of a text."""

    settings = ParallelReader.settings | {"evidence"}
    labels = LABELS

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        for row in super().rows(settings, languages, cache):
            if settings.evidence:
                yield replace(row, text=(*row.text, "")[:2])
            else:
                rephrases = tuple(dict.fromkeys(text[:1] for text in row.rephrases))
                yield replace(row, text=row.text[:1], rephrases=rephrases)
