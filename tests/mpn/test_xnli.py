"""XNLI from a folder in the shared format; and from the real one, where it is at hand."""

import gzip
import json
import os
from pathlib import Path

import pytest

from mpn.data.sources import DatasetSettings, corpus_fingerprint, corpus_languages, load_corpus
from mpn.data.xnli import LANGUAGES
from mpn.errors import MpnInputError

ROWS = [
    ("1", "10", "entailment", "Anna skis.", "Anna does sport."),
    ("2", "10", "contradiction", "Anna skis.", "Anna never skis."),
    ("3", "11", "neutral", "It snows.", "It is cold."),
]


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


def test_examples_that_a_language_lacks_are_left_out(tmp_path):
    write_folder(tmp_path, languages=["en"])
    write_folder(tmp_path, languages=["fr"], rows=ROWS[1:])
    assert [e.example_id for e in load(tmp_path).examples] == ["2", "3"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"1": {"label": "neutral"}}, "pair_id 1: label entailment and neutral; write one of"),
        ({"1": {"label": "maybe"}}, "pair_id 1: label entailment and maybe"),
        ({p: {"premise": None} for p in "123"}, "fr: rows have no premise; add them"),
        ({p: {"pair_id": f"x{p}"} for p in "123"}, "no pair_id stands in all languages"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, changes, message):
    write_folder(tmp_path, fr=changes)
    with pytest.raises(MpnInputError, match=message):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    write_folder(tmp_path, languages=["en"])
    with pytest.raises(MpnInputError, match=r"has no test\.fr\.jsonl\.gz"):
        corpus_fingerprint(DatasetSettings(name="xnli", path=str(tmp_path), languages=["en", "fr"]))
    with pytest.raises(MpnInputError, match=r"has no test\.fr\.jsonl\.gz"):
        load(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "test.fr.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(MpnInputError, match=r"test.fr.jsonl.gz: unreadable"):
        load(tmp_path)


def test_languages_that_xnli_lacks_are_refused():
    with pytest.raises(MpnInputError, match="it not in xnli; xnli has ar bg de"):
        corpus_languages(DatasetSettings(name="xnli", languages=["en", "it"]))


def test_the_hub_that_cannot_be_reached_is_the_users_to_know(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(MpnInputError, match=r"facebook/xnli cannot be loaded .* dataset.path"):
        load_corpus(DatasetSettings(name="xnli"), tmp_path)


@pytest.mark.real
@pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set")
def test_the_real_test_set_has_fifteen_aligned_languages(tmp_path):
    folder = Path(os.environ["MPN_REAL_DATA"]) / "xnli"
    corpus = load_corpus(DatasetSettings(name="xnli", path=str(folder)), tmp_path)
    assert corpus.languages == LANGUAGES
    assert len(corpus.examples) == 5010
    assert len({e.group for e in corpus.examples}) == 1670  # three rows a premise
