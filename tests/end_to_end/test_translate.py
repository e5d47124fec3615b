"""A corpus by machine translation, as a user builds, reviews and uses one."""

import csv
import hashlib
import json
import signal

import pytest
from command_line import CommandLine, kill_group
from tiny_translators import save_tiny_m2m100, save_tiny_marian

from mpn.data.mini.claims import mini_corpus
from mpn.data.parallel_folder import read_rows

N_ROWS = 40
OPTIONS = ["--dataset", "mini", "--licence", "apache-2.0", "--max-tokens", 24, "--beams", 2]
STUDY = """\
study: on-translations
question: Do edits carry over to machine translations?
objective: edit_stream
base:
  backbone: {{name: {model}}}
  dataset: {{name: xfever, path: {corpus}, verified: only, edits: counterfactual,
             evaluation_examples: 4, neighbours: 0}}
  streams: {{count: 1, edits: 3}}
  editor:
    memory: {{weight: 0.001, size: 20}}
    optimizer: {{lr: 0.05, max_steps: 40}}
    stop: {{when: never}}
    value_init: zero
    dropout: null
measure: {{primary: cross_lingual_generality}}
"""


@pytest.fixture(scope="session")
def m2m100(tmp_path_factory):
    return save_tiny_m2m100(tmp_path_factory.mktemp("translators") / "m2m100")


@pytest.fixture(scope="session")
def marians(tmp_path_factory):
    folder = tmp_path_factory.mktemp("translators")
    save_tiny_marian(folder / "opus-en-fr")
    save_tiny_marian(folder / "opus-fr-en", source="fr", target="en")
    return folder / "opus-{source}-{target}"


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fill_in(path, decisions):
    """Write decisions into an exported file, as a spreadsheet would."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, decision in zip(rows, decisions, strict=False):
        row.update(decision)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def made(marians, tmp_path_factory):
    """A home in which twelve rows were translated to French, and the folder."""
    mpn = CommandLine(tmp_path_factory.mktemp("translated"))
    folder = mpn.home / "corpus"
    words = ["data", "translate", *OPTIONS, "--limit", 12, "--shard", 5, "--to", "fr"]
    words += ["--model", marians, "--out", folder, "--executor", "inline"]
    return mpn, words, folder, mpn(*words)


def test_a_corpus_is_translated_checked_and_written(made):
    _, _, folder, said = made
    assert f"The corpus is in {folder}." in said
    assert "mpn data review export" in said
    source = mini_corpus().examples[:12]
    rows = read_rows(folder, "test", "fr")
    assert [row.id for row in rows] == [example.example_id for example in source]
    assert [row.label for row in rows] == [mini_corpus().labels[e.label] for e in source]
    assert {row.status for row in rows} == {"flagged"}  # weights are random
    assert all("truncated" in row.flags for row in rows)
    assert all(row.model.startswith("opus-en-fr@") for row in rows)
    english = read_rows(folder, "test", "en")
    assert [row.text for row in english] == [example.texts["en"] for example in source]


def test_the_same_command_translates_nothing_again(made):
    mpn, words, folder, _ = made
    before = digests(folder)
    mpn(*words)
    assert digests(folder) == before
    [study] = [path.stem for path in mpn.home.glob("ledger/studies/*.json")]
    assert mpn.json("status", study, "--json")["last_run"]["blocks_executed"] == 0


def test_other_lines_for_checks_translate_nothing_again(made, tmp_path):
    mpn, words, _, _ = made
    out = tmp_path / "stricter"
    mpn(*words, "--check", "longest=1000", "--check", "shortest=0.001", "--out", out)
    assert not any("length" in row.flags for row in read_rows(out, "test", "fr"))
    [study] = [path.stem for path in mpn.home.glob("ledger/studies/*.json")]
    assert mpn.json("status", study, "--json")["last_run"]["blocks_executed"] == 0


def test_a_translation_study_has_a_table_like_any_other(made):
    mpn, *_ = made
    [study] = [path.stem for path in mpn.home.glob("ledger/studies/*.json")]
    [row] = mpn.json("table", study, "--format", "json")
    assert row["params"] == {"target.language": "fr"}
    assert set(row["metrics"]) >= {"round_trip", "intact", "length_ratio", "round_trip/fr"}
    assert row["metrics"]["round_trip"]["n"] == 3  # shards


def test_flagged_rows_go_to_people_and_back(made, tmp_path):
    mpn, words, folder, _ = made
    sheet = tmp_path / "flagged.csv"
    said = mpn.without_home("data", "review", "export", folder, "-o", sheet)
    assert "12 flagged rows" in said
    decisions = [
        {"decision": "accept"},
        {"decision": "Correct", "correction": "Une phrase."},
        {"decision": "reject"},
    ]
    fill_in(sheet, decisions)
    said = mpn.without_home("data", "review", "import", folder, sheet)
    assert said == "3 decisions taken, 9 flagged rows are open.\n"
    rows = read_rows(folder, "test", "fr")
    assert [row.status for row in rows[:4]] == ["accepted", "corrected", "rejected", "flagged"]
    assert rows[1].text == ("Une phrase.",)
    assert "| fr | 12 | 0 | 0 | 9 | 1 | 1 | 1 |" in (folder / "README.md").read_text()

    said = mpn(*words, code=2)  # translating again would lose what people decided
    assert f"{folder}: has 3 rows that people have reviewed" in said
    assert "Nothing was launched." in said


def test_a_wrong_review_changes_nothing(made, tmp_path):
    mpn, _, folder, _ = made
    sheet = tmp_path / "flagged.csv"
    mpn.without_home("data", "review", "export", folder, "-o", sheet, "--language", "fr")
    fill_in(sheet, [{"decision": "accept"}, {"decision": "ok"}, {"source": "something else"}])
    before = digests(folder)
    said = mpn.without_home("data", "review", "import", folder, sheet, code=2)
    assert said.startswith(f"2 problems in {sheet}")
    assert "line 3  decision: 'ok'" in said
    assert "line 4  source: is not the source's text" in said
    assert f"Nothing was changed in {folder}." in said
    assert digests(folder) == before


def test_all_that_is_wrong_with_options_is_said_and_nothing_is_launched(mpn, m2m100):
    words = ["data", "translate", "--model", m2m100, "--licence", "x", "--to", "en"]
    words += ["--dataset", "minni", "--check", "roundtrip=3", "--code", "fr"]
    said = mpn(*words, code=2)
    assert said.startswith("4 problems in the command")
    assert "--code: 'fr'\n" in said
    assert "--dataset: 'minni'" in said
    assert "--check roundtrip: unknown key" in said and "did you mean 'round_trip'?" in said
    assert "--to: en is the source language" in said
    assert "Nothing was launched." in said
    assert not mpn.home.exists()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--to", "tlh"], "m2m100 does not know 'tlh'"),
        (["--to", "fr", "--from", "tlh"], "--from: tlh not in mini"),
        (["--to", "Français"], "--to: 'Français' is not a language tag"),
        (["--to", "fr", "--path", "/nowhere"], "--path: /nowhere, which mini does not heed"),
        (["--to", "fr", "--data", "evidence=true"], "--data: True, which mini does not heed"),
        (["--to", "fr", "--data", "evidense=true"], "--data: unknown key"),
        (["--to", "fr", "--revision", "abc", "--model", "a/b"], "--revision: 'a/b' is no folder"),
        ([], "--to: nothing to make"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(mpn, m2m100, options, found):
    said = mpn("data", "translate", "--model", m2m100, "--licence", "x", *options, code=2)
    assert found in said
    assert "Nothing was launched." in said
    assert not (mpn.home / "ledger").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_translated_killed_resumed_reviewed_and_edited_on(mpn, m2m100, tiny_model, tmp_path):
    folder = tmp_path / "xfever"
    words = ["data", "translate", *OPTIONS, "--limit", N_ROWS, "--shard", 2, "--out", folder]
    words += ["--to", "fr", "--to", "sw", "--model", m2m100, "--rephrase-via", "de"]

    driver = mpn.start(*words, "--actors", 2)
    mpn.wait_for("ledger/blocks/*/*/result.json", driver)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert "Continue with: mpn data translate" in " ".join(err.split())
    interrupted = set(mpn.records())

    driver = mpn.start(*words, "--actors", 2)
    while set(mpn.records()) <= interrupted:
        assert driver.poll() is None, driver.communicate()
    kill_group(driver)
    killed = set(mpn.records())
    assert 0 < len(interrupted) < len(killed) < 3 * N_ROWS // 2
    assert not folder.exists()

    mpn.run(*words, "--actors", 2)
    undisturbed = CommandLine(tmp_path / "undisturbed")
    undisturbed(*words, "--executor", "inline", "--out", tmp_path / "same")
    assert digests(folder) == digests(tmp_path / "same")
    for language in ("en", "fr", "sw"):
        ids = [row.id for row in read_rows(folder, "test", language)]
        assert ids == [example.example_id for example in mini_corpus().examples[:N_ROWS]]
    assert any(row.rephrases_origin == "machine" for row in read_rows(folder, "test", "sw"))

    sheet = tmp_path / "flagged.csv"
    mpn.without_home("data", "review", "export", folder, "-o", sheet)
    translated = read_rows(folder, "test", "fr") + read_rows(folder, "test", "sw")
    assert all(row.status == "flagged" for row in translated)
    decisions = ["accept" if row.text[0] else "reject" for row in translated]
    fill_in(sheet, [{"decision": decision} for decision in decisions])
    mpn.without_home("data", "review", "import", folder, sheet)

    study = tmp_path / "study.yaml"
    study.write_text(STUDY.format(model=tiny_model, corpus=folder))
    mpn("run", study, "--executor", "inline")
    [row] = mpn.json("table", "on-translations", "--format", "json")
    assert {"cross_lingual_generality/fr", "cross_lingual_generality/sw"} <= set(row["metrics"])
    memory = json.loads((mpn.home / "ledger/studies/on-translations.json").read_text())
    assert memory["state"] == "done"
