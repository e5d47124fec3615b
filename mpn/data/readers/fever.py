"""FEVER (Thorne et al. 2018) and its translations: claims, with or without evidence."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpn.data.file_sets import by_name, find_files, language_of, languages_of
from mpn.data.readers.protocol import field_of, needed_path, rephrases_of, scalar
from mpn.data.reading import Record, read_records
from mpn.data.rows import Row
from mpn.data.settings import DatasetSettings
from mpn.edits import Text
from mpn.errors import MpnInputError

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")
_EVIDENCE = ("evidence_text", "evidence")


class FeverReader:
    """Reads claims from JSON Lines, CSV, TSV or Parquet.

    A claim is ``claim`` or, as in KILT, ``input``; its label ``label``, or the ``answer`` of its
    ``output``; other wordings are ``rephrases`` or ``filtered_rephrases``, also in ``meta``.
    Evidence is text in ``evidence_text`` or ``evidence``, or in the ``provenance`` of ``output``.
    Claims without a ``language``, in files that name none, are English.
    """

    settings = frozenset({"path", "split", "evidence"})
    labels = LABELS

    def languages(self, settings: DatasetSettings) -> tuple[str, ...] | None:
        """See :class:`Reader`."""
        return languages_of(find_files(needed_path(settings), settings.split))

    def files(self, settings: DatasetSettings, languages: Sequence[str]) -> Mapping[str, Path]:
        """See :class:`Reader`."""
        return by_name(find_files(needed_path(settings), settings.split), languages)

    def rows(
        self, settings: DatasetSettings, languages: Sequence[str], cache: Path
    ) -> Iterator[Row]:
        """See :class:`Reader`."""
        for path in self.files(settings, languages).values():
            default = language_of(path) or "en"
            for place, record in read_records(path):
                claim = field_of(record, ["claim", "input"], place)
                text: Text = (claim,)
                if settings.evidence:
                    text = (claim, _evidence(record, place))
                yield Row(
                    id=field_of(record, ["id", "pair_id"], place),
                    group=field_of({"group": "", **record}, ["group"], place),
                    language=field_of({"language": default, **record}, ["language"], place),
                    label=_label(record, place),
                    text=text,
                    rephrases=_rephrases(record, text, place),
                )


def _label(record: Record, place: str) -> str:
    if "output" not in record:
        return field_of(record, ["label"], place)
    answers = [scalar(one["answer"], place) for one in _outputs(record) if one.get("answer")]
    return " or ".join(dict.fromkeys(answers))


def _outputs(record: Record) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of a KILT ``output`` that are what they should be."""
    found = record.get("output")
    for one in found if isinstance(found, list | tuple) else ():
        if isinstance(one, Mapping):
            yield one


def _rephrases(record: Record, text: Text, place: str) -> tuple[Text, ...]:
    meta = record.get("meta")
    for holder in (record, meta if isinstance(meta, Mapping) else {}):
        for name in ("rephrases", "filtered_rephrases"):
            if name in holder:
                return rephrases_of(holder[name], text, f"{place}, {name}")
    return ()


def _evidence(record: Record, place: str) -> str:
    """Return the evidence as one text.

    Raises:
        MpnInputError: If there is none, or it is given by the numbers of pages and sentences.
    """
    for name in _EVIDENCE:
        found = record.get(name)
        if isinstance(found, str):
            return found
        if isinstance(found, list | tuple) and all(isinstance(one, str) for one in found):
            return " ".join(found)
    texts = [
        one["text"]
        for output in _outputs(record)
        for one in output.get("provenance") or ()
        if isinstance(one, Mapping) and isinstance(one.get("text"), str)
    ]
    if not texts and any(name in record for name in _EVIDENCE):
        raise MpnInputError(
            place,
            "evidence is not text: a page and the number of a sentence say where it stands",
            "add evidence_text, or set dataset.evidence: false",
        )
    if not texts and "output" not in record:
        raise MpnInputError(
            place, "no evidence", "add evidence_text, or set dataset.evidence: false"
        )
    return " ".join(texts)
