"""XNLI in all layouts that it comes in; and the real one, where it is at hand."""

import gzip
import json
import os
from pathlib import Path

import datasets
import pytest

from mpn.data.readers.xnli import LABELS, LANGUAGES
from mpn.data.sources import DatasetSettings, corpus_fingerprint, corpus_languages, load_corpus
from mpn.errors import MpnInputError

ROWS = [
    ("1", "10", "entailment", "Anna skis.", "Anna does sport."),
    ("2", "10", "contradiction", "Anna skis.", "Anna never skis."),
    ("3", "11", "neutral", "It snows.", "It is cold."),
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_folder(folder: Path, languages=("en", "fr"), rows=ROWS, **changes) -> Path:
    for language in languages:
        lines = []
        for pair_id, prompt_id, label, premise, hypothesis in rows:
            row = {
                "pair_id": pair_id,
                "prompt_id": prompt_id,
                "label": label,
                "premise": f"[{language}] {premise}",
                "hypothesis": f"[{language}] {hypothesis}",
            } | changes.get(language, {}).get(pair_id, {})
            lines.append(json.dumps({k: v for k, v in row.items() if v is not None}))
        with gzip.open(folder / f"test.{language}.jsonl.gz", "wt") as file:
            file.write("\n".join(lines))
    return folder


def load(folder, **options):
    settings = DatasetSettings(
        name="xnli", path=str(folder), **({"languages": ["en", "fr"]} | options)
    )
    return load_corpus(settings, folder / "cache")


def test_rows_are_aligned_into_parallel_pairs(tmp_path):
    corpus = load(write_folder(tmp_path))
    assert [e.example_id for e in corpus.examples] == ["1", "2", "3"]
    assert corpus.examples[0].texts["fr"] == ("[fr] Anna skis.", "[fr] Anna does sport.")
    assert [corpus.labels[e.label] for e in corpus.examples] == [r[2] for r in ROWS]
    assert [e.group for e in corpus.examples] == ["10", "10", "11"]  # rows of one premise


def test_a_limit_cuts_the_examples_and_changes_the_fingerprint(tmp_path):
    write_folder(tmp_path)
    assert len(load(tmp_path, limit=2).examples) == 2
    prints = {
        corpus_fingerprint(
            DatasetSettings(name="xnli", path=str(tmp_path), languages=["en", "fr"], limit=n)
        )
        for n in (None, 1, 2)
    }
    assert len(prints) == 3


def test_a_changed_file_is_another_corpus(tmp_path):
    settings = DatasetSettings(name="xnli", path=str(tmp_path), languages=["en", "fr"])
    write_folder(tmp_path)
    before = corpus_fingerprint(settings)
    write_folder(tmp_path, fr={"1": {"premise": "Anne skie."}})
    assert corpus_fingerprint(settings) != before


def test_examples_that_a_language_lacks_are_refused_or_left_out(tmp_path):
    write_folder(tmp_path, languages=["en"])
    write_folder(tmp_path, languages=["fr"], rows=ROWS[1:])
    with pytest.raises(
        MpnInputError, match=r"id missing in a language: 1 \(first: id '1' not in fr"
    ):
        load(tmp_path)
    corpus = load(tmp_path, bad_rows="drop")
    assert [e.example_id for e in corpus.examples] == ["2", "3"]
    assert corpus.dropped == {"id missing in a language": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"1": {"label": "neutral"}}, "id '1': 'entailment' in en, 'neutral' in fr"),
        ({"1": {"label": "maybe"}}, r"unknown label: 1 \(first: 'maybe', id '1' in fr\)"),
        (
            {p: {"premise": None} for p in "123"},
            r"test.fr.jsonl.gz, line 1: no premise; its fields",
        ),
        ({p: {"pair_id": f"x{p}"} for p in "123"}, "id missing in a language: 6"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, changes, message):
    write_folder(tmp_path, fr=changes)
    with pytest.raises(MpnInputError, match=message):
        load(tmp_path)


def test_a_language_that_the_folder_lacks_is_named_with_those_it_has(tmp_path):
    write_folder(tmp_path, languages=["en", "de"])
    with pytest.raises(MpnInputError, match=r"fr not in .*; xnli has de en"):
        corpus_fingerprint(DatasetSettings(name="xnli", path=str(tmp_path), languages=["en", "fr"]))
    with pytest.raises(MpnInputError, match=r"has no dev\.LANGUAGE\.jsonl, xnli\.dev\.tsv or all_"):
        corpus_languages(DatasetSettings(name="xnli", path=str(tmp_path), split="dev"))


def test_languages_that_xnli_lacks_are_refused():
    with pytest.raises(MpnInputError, match="it not in xnli; xnli has ar bg de"):
        corpus_languages(DatasetSettings(name="xnli", languages=["en", "it"]))


def test_rows_without_the_premises_number_are_grouped_by_the_premise(tmp_path):
    bare = {pair_id: {"prompt_id": None} for pair_id in "123"}
    groups = [e.group for e in load(write_folder(tmp_path, en=bare, fr=bare)).examples]
    assert groups[0] == groups[1] != groups[2]


# -- other layouts ------------------------------------------------------------------------


def write_official(path: Path, languages=("en", "fr")) -> Path:
    """As in XNLI-1.0.zip: no quoting, more columns than are needed."""
    columns = ["language", "gold_label", "sentence1", "sentence2", "promptID", "pairID", "genre"]
    lines = ["\t".join(columns)]
    for language in languages:
        for pair_id, prompt_id, label, premise, hypothesis in ROWS:
            row = [language, label, f'"{premise}', hypothesis, prompt_id, pair_id, "fiction"]
            lines.append("\t".join(row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_hub(folder: Path, languages=LANGUAGES) -> Path:
    """As on the hub: one row an example, and a card that says where the rows lie."""
    (folder / "all_languages").mkdir(parents=True)
    features = datasets.Features(
        {
            "premise": datasets.Translation(languages),
            "hypothesis": datasets.TranslationVariableLanguages(languages),
            "label": datasets.ClassLabel(names=list(LABELS)),
        }
    )
    rows = [
        {
            "premise": {language: f"[{language}] {premise}" for language in languages},
            "hypothesis": {language: f"[{language}] {hypothesis}" for language in languages},
            "label": label,
        }
        for _, _, label, premise, hypothesis in ROWS
    ]
    made = datasets.Dataset.from_list(
        [
            {
                "premise": row["premise"],
                "hypothesis": features["hypothesis"].encode_example(row["hypothesis"]),
                "label": LABELS.index(row["label"]),
            }
            for row in rows
        ],
        features=features,
    )
    for split in ("validation", "test"):
        made.to_parquet(folder / "all_languages" / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: all_languages\n  data_files:\n"
        "  - {split: validation, path: all_languages/validation-*}\n"
        "  - {split: test, path: all_languages/test-*}\n---\n"
    )
    return folder


@pytest.mark.parametrize("given", ["file", "folder"])
def test_the_official_tables_hold_all_languages(tmp_path, given):
    path = write_official(tmp_path / "xnli.test.tsv")
    corpus = load_corpus(
        DatasetSettings(
            name="xnli",
            path=str(path if given == "file" else tmp_path),
            languages=["en", "fr"],
        ),
        tmp_path / "cache",
    )
    assert corpus.examples[0].texts["fr"] == ('"Anna skis.', "Anna does sport.")
    assert [e.group for e in corpus.examples] == ["10", "10", "11"]
    assert [corpus.labels[e.label] for e in corpus.examples] == [r[2] for r in ROWS]


def test_a_language_that_is_named_but_has_no_row_is_refused_even_if_bad_rows_are_dropped(tmp_path):
    path = write_official(tmp_path / "xnli.test.tsv")
    settings = DatasetSettings(name="xnli", path=str(path), languages=["en", "sw"], bad_rows="drop")
    with pytest.raises(MpnInputError, match=r"no row in sw; name others .*: en fr"):
        load_corpus(settings, tmp_path / "cache")


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_hubs_layout_is_read_from_a_folder_with_equal_premises_as_a_group(tmp_path, split):
    folder = write_hub(tmp_path / "clone")
    settings = DatasetSettings(name="xnli", path=str(folder), split=split, languages=["sw", "en"])
    assert len(corpus_fingerprint(settings)) == 64
    corpus = load_corpus(settings, tmp_path / "cache")
    assert corpus.examples[1].texts["sw"] == ("[sw] Anna skis.", "[sw] Anna never skis.")
    assert [e.example_id for e in corpus.examples] == [f"{split}-{i}" for i in range(3)]
    assert [corpus.labels[e.label] for e in corpus.examples] == [r[2] for r in ROWS]
    groups = [e.group for e in corpus.examples]
    assert groups[0] == groups[1] != groups[2]


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:39], COMMIT.upper()])
def test_a_corpus_of_the_hub_must_be_pinned_to_a_commit(tmp_path, revision):
    settings = DatasetSettings(name="xnli", revision=revision)
    with pytest.raises(MpnInputError, match=r"is not a commit of facebook/xnli; write the 40 hex"):
        corpus_fingerprint(settings)
    with pytest.raises(MpnInputError, match="is not a commit"):
        load_corpus(settings, tmp_path)


def test_what_is_on_the_hub_is_read_like_a_folder_of_its_layout(tmp_path, monkeypatch):
    write_hub(tmp_path / "facebook" / "xnli")
    monkeypatch.chdir(tmp_path)  # where datasets looks for a name before it asks the hub
    settings = DatasetSettings(name="xnli", revision=COMMIT, languages=["sw", "en"])
    corpus = load_corpus(settings, tmp_path / "cache")
    assert corpus.examples[2].texts["sw"] == ("[sw] It snows.", "[sw] It is cold.")
    assert any((tmp_path / "cache").iterdir())


def test_rows_of_another_shape_in_the_hubs_layout_are_named(tmp_path):
    folder = write_hub(tmp_path / "clone")
    odd = datasets.Dataset.from_list([{"premise": {"en": "a"}, "label": 0}])
    for split in ("test", "validation"):
        odd.to_parquet(folder / "all_languages" / f"{split}-00000-of-00001.parquet")
    settings = DatasetSettings(name="xnli", path=str(folder), languages=["en", "sw"])
    with pytest.raises(MpnInputError, match="clone, row 0: no hypothesis in many languages"):
        load_corpus(settings, tmp_path / "cache")


def test_a_damaged_file_in_the_hubs_layout_is_named_by_its_folder(tmp_path):
    folder = write_hub(tmp_path / "clone")
    (folder / "all_languages" / "test-00000-of-00001.parquet").write_bytes(b"garbage")
    settings = DatasetSettings(name="xnli", path=str(folder), languages=["en", "sw"])
    with pytest.raises(MpnInputError, match=r"clone: cannot be loaded \(.*as on the hub"):
        load_corpus(settings, tmp_path / "cache")


def test_the_hub_that_cannot_be_reached_is_the_users_to_know(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(MpnInputError, match=r"facebook/xnli: cannot be loaded .* dataset.path"):
        load_corpus(DatasetSettings(name="xnli", revision=COMMIT), tmp_path)


@pytest.mark.real
@pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set")
def test_the_real_test_set_has_fifteen_aligned_languages(tmp_path):
    folder = Path(os.environ["MPN_REAL_DATA"]) / "xnli"
    settings = DatasetSettings(name="xnli", path=str(folder), bad_rows="drop")
    corpus = load_corpus(settings, tmp_path)
    assert corpus.languages == LANGUAGES
    assert corpus.dropped == {"control character": 7}  # backspaces and group separators in el, zh
    assert len(corpus.examples) == 5010 - 7
    assert len({e.group for e in corpus.examples}) == 1670 - 2  # three rows a premise
