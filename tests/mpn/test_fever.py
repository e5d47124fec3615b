"""FEVER in KILT's form, as it was released, and flat; with two or three classes; with evidence."""

import json
import os
from pathlib import Path

import pytest

from mpn.data.sources import DatasetSettings, corpus_languages, load_corpus
from mpn.errors import MpnInputError

KILT = [
    {
        "id": "75397",
        "input": "Snow is white.",
        "output": [
            {"answer": "SUPPORTS", "provenance": [{"title": "Snow", "text": "It is white."}]},
            {"provenance": [{"title": "Ice", "text": "Ice too."}]},
        ],
        "filtered_rephrases": ["White is snow.", "The colour of snow is white."],
    },
    {
        "id": "150448",
        "input": "Rain is dry.",
        "output": [{"answer": "REFUTES", "provenance": [{"title": "Rain", "text": "It is wet."}]}],
        "meta": {"rephrases": ["Rain is not wet."]},
    },
]
RELEASE = [
    {
        "id": 1,
        "verifiable": "VERIFIABLE",
        "label": "SUPPORTS",
        "claim": "Snow is white.",
        "evidence": [[[92206, 104971, "Snow", 7]]],
    },
    {
        "id": 2,
        "verifiable": "NOT VERIFIABLE",
        "label": "NOT ENOUGH INFO",
        "claim": "Fog is late.",
        "evidence": [[[137334, None, None, None]]],
    },
]


def write(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def load(path, **more):
    settings = DatasetSettings(name="fever", path=str(path), **({"languages": ["en"]} | more))
    return load_corpus(settings, path.parent / "cache")


def test_kilt_rows_have_two_classes_and_rephrases(tmp_path):
    corpus = load(write(tmp_path / "fever-dev-kilt.jsonl", KILT))
    assert corpus.labels == ("SUPPORTS", "REFUTES")
    first, second = corpus.examples
    assert first.texts == {"en": ("Snow is white.",)}
    assert first.rephrases["en"] == (("White is snow.",), ("The colour of snow is white.",))
    assert second.rephrases["en"] == (("Rain is not wet.",),)


def test_evidence_is_the_second_segment_of_a_claim_and_of_its_rephrases(tmp_path):
    corpus = load(write(tmp_path / "fever-dev-kilt.jsonl", KILT), evidence=True)
    first = corpus.examples[0]
    assert first.texts["en"] == ("Snow is white.", "It is white. Ice too.")
    assert first.rephrases["en"][0] == ("White is snow.", "It is white. Ice too.")


def test_the_release_has_three_classes_of_which_two_can_be_kept(tmp_path):
    path = write(tmp_path / "shared_task_dev.jsonl", RELEASE)
    assert load(path).labels == ("SUPPORTS", "NOT ENOUGH INFO")  # of three, those that occur
    two = load(path, labels=["supports"])
    assert [e.example_id for e in two.examples] == ["1"]
    with pytest.raises(MpnInputError, match=r"dataset\.labels: true; fever has SUPPORTS, REFUTES"):
        load(path, labels=["TRUE"])


def test_evidence_given_by_page_and_number_is_no_text(tmp_path):
    path = write(tmp_path / "shared_task_dev.jsonl", RELEASE)
    with pytest.raises(MpnInputError, match=r"line 1: evidence is not text.*evidence: false"):
        load(path, evidence=True)
    texts = [row | {"evidence_text": ["It is.", "Indeed."]} for row in RELEASE]
    corpus = load(write(path, texts), evidence=True)
    assert corpus.examples[0].texts["en"] == ("Snow is white.", "It is. Indeed.")


def test_claims_without_evidence_are_named_where_it_is_asked_for(tmp_path):
    bare = [{k: v for k, v in row.items() if k != "evidence"} for row in RELEASE]
    with pytest.raises(MpnInputError, match="line 1: no evidence; add evidence_text"):
        load(write(tmp_path / "a.jsonl", bare), evidence=True)
    none = [KILT[0] | {"output": [{"answer": "SUPPORTS"}]}]
    with pytest.raises(MpnInputError, match=r"blank text: 1 \(first: id '75397' in en"):
        load(write(tmp_path / "b.jsonl", none), evidence=True)


def test_answers_that_contradict_each_other_are_no_label(tmp_path):
    row = KILT[0] | {"output": [{"answer": "SUPPORTS"}, {"answer": "REFUTES"}]}
    with pytest.raises(MpnInputError, match=r"unknown label: 1 .*'SUPPORTS or REFUTES'"):
        load(write(tmp_path / "a.jsonl", [row]))


def test_rows_without_a_claim_are_named(tmp_path):
    with pytest.raises(MpnInputError, match="line 1: no claim or input; its fields are id, label"):
        load(write(tmp_path / "a.jsonl", [{"id": 1, "label": "SUPPORTS"}]))


def test_translations_stand_in_files_of_their_own_or_beside_each_other(tmp_path):
    flat = [
        {"pair_id": 7, "language": language, "label": "REFUTES", "claim": f"[{language}] Rain."}
        for language in ("en", "cs")
    ]
    assert load(write(tmp_path / "all.jsonl", flat), languages=["cs", "en"]).examples[0].texts == {
        "cs": ("[cs] Rain.",),
        "en": ("[en] Rain.",),
    }
    folder = tmp_path / "folder"
    folder.mkdir()
    for row in flat:
        write(folder / f"claims.test.{row['language']}.jsonl", [row])
    settings = DatasetSettings(name="fever", path=str(folder))
    assert corpus_languages(settings) == ("cs", "en")
    assert len(load_corpus(settings, tmp_path).examples) == 1


@pytest.mark.real
@pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set")
def test_real_claims_are_aligned_in_three_languages(tmp_path):
    folder = Path(os.environ["MPN_REAL_DATA"]) / "fever"
    settings = DatasetSettings(
        name="fever",
        path=str(folder / "en-it-cs.claims.jsonl.gz"),
        languages=["en", "it", "cs"],
    )
    assert len(load_corpus(settings, tmp_path).examples) == 1386
    settings = DatasetSettings(name="fever", path=str(folder), split="dev")
    corpus = load_corpus(settings, tmp_path)
    assert (corpus.languages, len(corpus.examples)) == (("cs", "en"), 14_359)
