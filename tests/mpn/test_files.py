"""A user's own files, in all formats, with all names of columns; and parallel folders."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpn.data.parallel_folder import FolderRow, write
from mpn.data.sources import DatasetSettings, corpus_fingerprint, corpus_languages, load_corpus
from mpn.errors import MpnInputError

ROWS = [
    {"id": "007", "language": language, "label": label, "text": f"[{language}] {text}"}
    | {"id": f"00{number}"}
    for language in ("en", "ar")
    for number, (label, text) in enumerate([("yes", "Snow."), ("no", "Rain."), ("no", "Fog.")])
]


def settings_of(path, **more):
    return DatasetSettings(name="files", path=str(path), **({"languages": ["en", "ar"]} | more))


def load(path, **more):
    return load_corpus(settings_of(path, **more), path.parent / "cache")


def write_lines(path, rows):
    content = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_table(path, rows, **dialect):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), **dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


WRITERS = {
    "rows.jsonl": write_lines,
    "rows.jsonl.gz": write_lines,
    "rows.csv": write_table,
    "rows.tsv": lambda path, rows: write_table(
        path, rows, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None
    ),
    "rows.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_corpus(tmp_path, name):
    corpus = load(WRITERS[name](tmp_path / name, ROWS))
    assert corpus.labels == ("no", "yes")
    assert [e.example_id for e in corpus.examples] == ["000", "001", "002"]
    assert [e.label for e in corpus.examples] == [1, 0, 0]
    assert corpus.examples[1].texts == {"en": ("[en] Rain.",), "ar": ("[ar] Rain.",)}
    assert corpus.examples[1].group == "001"


@pytest.mark.parametrize("name", WRITERS)
def test_columns_of_other_names_pairs_groups_and_rephrases_are_read(tmp_path, name):
    own = [
        {
            "nr": row["id"],
            "tag": row["language"],
            "verdict": row["label"],
            "claim": row["text"],
            "proof": "It is.",
            "group": "weather",
            "other": json.dumps([row["text"].upper(), ["A", "B"]]),
        }
        for row in ROWS
    ]
    columns = {
        "id": "nr",
        "language": "tag",
        "label": "verdict",
        "text": "claim",
        "text_pair": "proof",
        "rephrases": "other",
    }
    corpus = load(WRITERS[name](tmp_path / name, own), columns=columns)
    first = corpus.examples[0]
    assert first.texts["en"] == ("[en] Snow.", "It is.")
    assert first.group == "weather"
    assert first.rephrases["en"] == (("[EN] SNOW.", "It is."), ("A", "B"))


def without_language(language):
    return [
        {k: v for k, v in r.items() if k != "language"} for r in ROWS if r["language"] == language
    ]


@pytest.mark.parametrize(
    "names", [("test.{}.jsonl",), ("{}.jsonl.gz",), ("own.test.{}.jsonl", "own.train.{}.jsonl")]
)
def test_languages_may_stand_in_the_files_names(tmp_path, names):
    folder = tmp_path / "data"
    folder.mkdir()
    for language in ("en", "ar"):
        for name in names:
            write_lines(folder / name.format(language), without_language(language))
    (folder / "README.md").write_text("no data")
    (folder / ".test.fr.jsonl").write_text("hidden")
    assert corpus_languages(settings_of(folder, languages="all")) == ("ar", "en")
    assert len(load(folder, languages="all").examples) == 3
    with pytest.raises(MpnInputError, match=r"fr not in .*; files has ar en"):
        corpus_languages(settings_of(folder, languages=["en", "fr"]))


def test_a_pattern_chooses_files(tmp_path):
    for language in ("en", "ar"):
        write_lines(tmp_path / f"a.{language}.jsonl", without_language(language))
        write_lines(tmp_path / f"b.{language}.jsonl", ROWS)
    assert len(load(tmp_path / "a.*.jsonl", languages="all").examples) == 3


def test_only_the_files_of_languages_that_are_asked_for_are_opened(tmp_path):
    for language in ("en", "ar"):
        write_lines(tmp_path / f"{language}.jsonl", without_language(language))
    (tmp_path / "fr.jsonl").write_text("damaged")
    assert len(load(tmp_path).examples) == 3


def test_a_changed_file_or_another_reading_of_it_is_another_corpus(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", ROWS)
    readings = [
        {},
        {"labels": ["yes"]},
        {"limit": 2},
        {"max_characters": 9},
        {"columns": {"text": "id"}},
        {"verified": "only"},
        {"languages": ["ar", "en"]},
    ]
    prints = {corpus_fingerprint(settings_of(path, **reading)) for reading in readings}
    assert len(prints) == len(readings)
    for same in ({"bad_rows": "drop"}, {"seed": 1}, {"edits": "counterfactual"}):
        assert corpus_fingerprint(settings_of(path, **same)) in prints
    write_lines(path, ROWS[:-1])
    assert corpus_fingerprint(settings_of(path)) not in prints


def test_the_same_files_elsewhere_are_the_same_corpus(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        write_lines(tmp_path / place / "a.jsonl", ROWS)
    here, there = (corpus_fingerprint(settings_of(tmp_path / p)) for p in ("here", "there"))
    assert here == there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": None}, "dataset.path: null; files is read from files: give their path"),
        ({"path": "{}/nowhere"}, "dataset.path: .*nowhere is not there"),
        ({"languages": "all"}, "dataset.languages: all; the files' names do not tell"),
        ({"languages": ["en", "en"]}, "dataset.languages: a language twice"),
        ({"languages": ["en", "english"]}, "'english' is not a language tag"),
        ({"languages": []}, "dataset.languages: no language; name each once"),
        ({"revision": "main"}, "dataset.revision: main, which files does not heed; leave it out"),
        ({"name": "xnli", "revision": "a" * 40}, "dataset.revision: a+, beside a path; leave it"),
        ({"evidence": True}, "dataset.evidence: True, which files does not heed"),
        ({"name": "mini", "languages": "all"}, "dataset.path: .*, which mini does not heed"),
    ],
)
def test_settings_that_do_not_fit_are_named_before_anything_is_read(tmp_path, changes, message):
    path = write_lines(tmp_path / "a.jsonl", ROWS)
    if changes.get("path"):
        changes = changes | {"path": changes["path"].format(tmp_path)}
    settings = DatasetSettings(
        **({"name": "files", "path": str(path), "languages": ["en", "ar"]} | changes)
    )
    with pytest.raises(MpnInputError, match=message):
        corpus_fingerprint(settings)


def test_a_folder_of_other_splits_names_those_it_has(tmp_path):
    write_lines(tmp_path / "train.en.jsonl", ROWS)
    write_lines(tmp_path / "dev.en.jsonl", ROWS)
    with pytest.raises(MpnInputError, match=r"dataset.split: .* has no file of test; it has dev"):
        corpus_languages(settings_of(tmp_path))


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"label": None}, {}, "line 1: no label; its fields are id, language, text"),
        ({"language": None}, {}, "line 1: no language, and the file's name tells no language"),
        ({}, {"text": "claim"}, "line 1: no claim, which dataset.columns names; its fields are id"),
        ({"text": ["a", "b"]}, {}, "line 1, text: a list; give a text"),
        ({"rephrases": 3}, {}, "line 1, rephrases: a int; give a list of texts"),
        ({"rephrases": "[1"}, {}, "line 1, rephrases: no JSON"),
    ],
)
def test_a_row_that_lacks_something_is_named(tmp_path, row, columns, message):
    changed = {k: v for k, v in (ROWS[0] | row).items() if v is not None}
    path = write_lines(tmp_path / "a.jsonl", [changed, *ROWS[1:]])
    with pytest.raises(MpnInputError, match=message):
        load(path, columns=columns)


# -- parallel folders ---------------------------------------------------------------------


def write_folder(folder, evidence="It is."):
    english = FolderRow("1", "g", "en", "SUPPORTS", ("Snow.", evidence), (("White.", evidence),))
    machine = FolderRow(
        "1", "g", "ar", "SUPPORTS", ("ثلج.", evidence), origin="machine", status="flagged"
    )
    second = FolderRow("2", "h", "en", "REFUTES", ("Rain.", evidence))
    write(folder, "test", "en", [english, second])
    passed = FolderRow("2", "h", "ar", "REFUTES", ("مطر.", evidence), status="passed")
    write(folder, "test", "ar", [machine, passed])
    return folder


@pytest.mark.parametrize("evidence", [True, False])
def test_xfever_is_a_parallel_folder_read_with_or_without_evidence(tmp_path, evidence):
    folder = write_folder(tmp_path / "folder")
    settings = DatasetSettings(name="xfever", path=str(folder), evidence=evidence)
    corpus = load_corpus(settings, tmp_path)
    assert corpus.languages == ("ar", "en")
    assert corpus.labels == ("SUPPORTS", "REFUTES")
    first = corpus.examples[0]
    assert first.texts["ar"] == (("ثلج.", "It is.") if evidence else ("ثلج.",))
    assert first.rephrases["en"] == ((("White.", "It is.") if evidence else ("White.",)),)
    assert [e.group for e in corpus.examples] == ["g", "h"]


def test_a_parallel_folder_is_read_as_files_and_only_verified_rows_are_kept(tmp_path):
    folder = write_folder(tmp_path / "folder")
    assert len(load(folder).examples) == 2
    assert [e.example_id for e in load(folder, verified="only").examples] == ["2"]


def test_evidence_that_is_not_there_is_blank(tmp_path):
    folder = write_folder(tmp_path / "folder", evidence="")
    settings = DatasetSettings(name="xfever", path=str(folder), evidence=True)
    with pytest.raises(MpnInputError, match=r"blank text: 4 \(first: id '1' in ar"):
        load_corpus(settings, tmp_path)


def test_a_parallel_folder_names_the_splits_and_languages_that_it_has(tmp_path):
    folder = str(write_folder(tmp_path / "folder"))
    with pytest.raises(MpnInputError, match=r"no data/dev/LANGUAGE.parquet; it has test"):
        corpus_languages(DatasetSettings(name="xfever", path=folder, split="dev"))
    with pytest.raises(MpnInputError, match=r"sw not in .*; xfever has ar en"):
        corpus_languages(DatasetSettings(name="xfever", path=folder, languages=["en", "sw"]))
    with pytest.raises(MpnInputError, match=r"dataset\.path: .*give a parallel folder"):
        corpus_languages(DatasetSettings(name="xfever", path=str(tmp_path / "nowhere")))
