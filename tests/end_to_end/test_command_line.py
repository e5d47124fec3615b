"""The command line's contract, as scripts rely on it."""

import csv
import io
import json
import os
import re

import pytest
import yaml

from mpn.data.readers.xnli import LANGUAGES
from studies.running import bundled_specs

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def home(study, tmp_path_factory):
    """A home in which the small study was run inline."""
    from command_line import CommandLine

    mpn = CommandLine(tmp_path_factory.mktemp("home"))
    mpn("run", study, "--executor", "inline")
    return mpn


@pytest.mark.ray
@pytest.mark.parametrize("actors", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_any_number_of_actors_gives_the_same_records(home, mpn, study, actors):
    mpn.run("run", study, "--actors", actors)
    assert mpn.records() == home.records()
    last_run = mpn.json("status", "small", "--json")["last_run"]
    assert last_run["actors"] == actors
    assert last_run["model_loads"] == actors
    assert last_run["blocks_executed"] == 6


def test_a_home_holds_what_the_documentation_says(home):
    names = {path.name for path in home.home.iterdir()}
    assert {"optuna.db", "mlflow.db", "mlartifacts", "ledger", "cache"} <= names


def test_a_finished_study_runs_nothing_and_says_so(home, study):
    before = home.records()
    said = home.run("run", study)  # on Ray, which is not started
    assert "Nothing to run: all 6 blocks of small are complete." in said
    assert home.records() == before
    assert home.json("status", "small", "--json")["last_run"]["blocks_executed"] == 0


def test_plan_says_what_is_there_already(home, mpn, study):
    full, fresh = home.json("plan", study, "--json"), mpn.json("plan", study, "--json")
    totals = {"trials": 3, "blocks": 6, "units": 36}
    assert full["totals"] == {**totals, "blocks_in_ledger": 6}
    assert fresh["totals"] == {**totals, "blocks_in_ledger": 0}
    assert [trial["baseline"] for trial in full["trials"]] == [True, False, False]
    assert not mpn.home.exists()  # planning leaves nothing behind


def test_status_counts_trials_and_blocks(home):
    status = home.json("status", "small", "--json")
    assert status["trials"]["complete"] == 3
    counts = {"waiting": 0, "running": 0, "complete": 6, "failed": 0, "pruned": 0}
    assert status["blocks"] == counts


def test_the_table_has_a_row_per_trial_with_paired_differences(home):
    rows = home.json("table", "small", "--format", "json")
    assert [row["params"] for row in rows] == [{"pairing.languages": n} for n in (0, 2, 5)]
    assert rows[0]["baseline"] and rows[0]["difference"] == {}
    metric = rows[1]["metrics"]["cross_lingual_generality"]
    assert metric["n"] == 2
    assert metric["low"] <= metric["mean"] <= metric["high"]
    gain = rows[1]["difference"]["cross_lingual_generality"]["mean"]
    base = rows[0]["metrics"]["cross_lingual_generality"]["mean"]
    assert gain == pytest.approx(metric["mean"] - base)
    assert {f"locality/{lang}" for lang in "en de es fr ru zh".split()} <= set(rows[0]["metrics"])
    assert "cross_lingual_generality_unseen" not in rows[2]["metrics"]  # all five are paired


def test_the_table_comes_in_every_format(home):
    markdown = home("table", "small", "--format", "md")
    assert markdown.startswith("| trial | languages | reliability |")
    latex = home("table", "small", "--format", "latex")
    assert latex.startswith("\\begin{tabular}{l") and "\\bottomrule" in latex
    rows = list(csv.DictReader(io.StringIO(home("table", "small", "--format", "csv"))))
    assert {row["trial"] for row in rows} == {"0", "1", "2"}
    assert "small" not in home("table", "small")  # the terminal's has the question as its title


def test_the_table_by_language_has_a_column_per_language_in_every_format(home):
    words = ("table", "small", "--by-language")
    rows = home.json(*words, "--format", "json")
    assert [row["trial"] for row in rows] == [0, 1, 2]
    assert set(rows[0]["metrics"]["reliability"]) == {"en"}
    generality = rows[1]["metrics"]["cross_lingual_generality"]
    assert set("de es fr ru zh macro seen".split()) == set(generality)  # drawn from all five
    plain = home.json("table", "small", "--format", "json")[1]["metrics"]
    assert generality["macro"]["mean"] == pytest.approx(plain["cross_lingual_generality"]["mean"])
    only = (*words, "--metric", "locality", "--format")
    assert "| trial | en | de | es | fr | ru | zh | macro |" in home(*only, "md")
    assert "trial & en & de & es & fr & ru & zh & macro" in home(*only, "latex")
    long = list(csv.DictReader(io.StringIO(home(*only, "csv"))))
    assert len(long) == 3 * 7 and {row["metric"] for row in long} == {"locality"}
    assert "Macro: plain mean" in " ".join(home(*words).split())


def test_wrong_options_of_the_table_by_language_are_said(home):
    said = home("table", "small", "--by-language", "--metric", "localty", code=2)
    assert "did you mean 'locality'?" in said
    assert "--by-language" in home("table", "small", "--metric", "locality", code=2)


def test_two_trials_are_compared_edit_by_edit(home):
    found = home.json("compare", "small", 0, 2, "--format", "json")
    assert found == home.json("compare", "small", 0, 2, "--format", "json")
    row = home.json("table", "small", "--format", "json")[2]
    gain = row["difference"]["cross_lingual_generality"]["mean"]
    assert found["macro"]["mean"] == pytest.approx(gain)
    assert set(found["languages"]) == {"de", "es", "fr", "ru", "zh"}
    for one in found["languages"].values():
        assert one["low"] <= one["mean"] <= one["high"]
        assert 0 < one["p"] <= one["p_holm"] <= 1
        assert one["edits"] == 12
    turned = home.json("compare", "small:languages=5", "small:0", "--format", "json")
    assert turned["macro"]["mean"] == pytest.approx(-gain)
    assert "2 streams, then of their edits" in " ".join(home("compare", "small", 0, 1).split())


def test_a_comparison_of_what_is_not_there_is_refused(home):
    assert "'7' is not here" in home("compare", "small", 0, 7, code=2)
    assert "'smal' is not here" in home("compare", "smal:0", "small:1", code=2)
    assert "STUDY:A STUDY:B" in home("compare", "small", 0, code=2)


def test_the_report_is_one_page(home, tmp_path):
    path = tmp_path / "page.html"
    assert home("report", "small", "-o", path).strip() == str(path)
    page = path.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "Does anything change when nothing should?" in page


def test_three_mistakes_get_one_answer_and_nothing_is_launched(mpn, study, tmp_path):
    text = study.read_text()
    broken = tmp_path / "broken.yaml"
    text = text.replace("count: 2", "cuont: 2")
    text = text.replace("protocol: sequential", "protocol: parallel")
    broken.write_text(text.replace("[0, 2, 5]", "[0, 2, 9]"))
    said = mpn("run", broken, code=2)
    assert said.startswith(f"3 problems in {broken}")
    assert "base.streams.cuont: unknown key" in said
    assert "did you mean 'count'?" in said
    assert "base.streams.protocol: 'parallel'" in said
    assert "sweep.pairing.languages[2]" in said
    assert f"Nothing was launched. Re-check with: mpn plan {broken}" in said
    assert not mpn.home.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run", "quickstart", "--home", "FILE"), "a folder; FILE is a file"),
        (("status", "small", "--home", "FILE/home"), "a folder; FILE is a file"),
        (("run", "quickstart", "--home", "/proc/home"), "name another folder"),
        (("sync", "--home", "NEW"), "a home in which a study was run"),
        (("finetune", "scratch", "-o", "FILE/model"), "a folder; FILE is a file"),
        (("edit", "--text", "en=A claim.", "--label", "1", "-o", "FILE/a"), "a file; FILE is a"),
        (("plan", "quickstrat"), "did you mean 'quickstart'?"),
        (("run", "quickstart", "--home", "NEW", "--set", "resources.gpus=99"), "99 GPUs an actor"),
        (
            ("run", "quickstart", "--home", "NEW", "--set", "resources.custom={h100: 1}"),
            "h100: 1, which only nodes of a cluster have",
        ),
    ],
)
def test_what_cannot_be_done_here_is_refused_with_its_reason(mpn, tmp_path, words, says):
    names = {"FILE": str(tmp_path / "file"), "NEW": str(tmp_path / "new")}
    (tmp_path / "file").touch()
    for name, path in names.items():
        words, says = [word.replace(name, path) for word in words], says.replace(name, path)
    said = " ".join(mpn.without_home(*words, code=2).split())
    assert says in said
    assert "Nothing was" in said


def test_pages_and_archives_go_where_files_can_be(home, tmp_path):
    assert "a file; that is a folder" in home("report", "small", "-o", tmp_path, code=2)
    assert "a file; that is a folder" in home("export", "small", tmp_path, code=2)


@pytest.mark.parametrize(
    ("place", "layer"),
    [("base.editor.layer", "2"), ("base.editor", "{name: finetune, layers: [0, 9]}")],
)
def test_a_layer_that_the_model_does_not_have_is_found_before_anything_starts(mpn, layer, place):
    said = mpn("plan", "quickstart", "--set", f"{place}={layer}", code=2)
    assert "layers are 0 to 1, or last" in said
    if place == "base.editor":
        assert "editor.layers[1]: layer 9" in said


def test_a_study_is_called_as_its_file():
    for path in bundled_specs().glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["study"] == path.stem


def test_a_study_can_be_planned_where_nothing_can_be_written(mpn, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    words = ("quickstart", "--home", tmp_path / "new")
    assert "8 trials, 8 blocks" in mpn.without_home("plan", *words)
    assert "where it can be written" in mpn.without_home("run", *words, code=2)


def test_a_search_is_planned_without_its_trials(mpn):
    assert "24 trials, which are chosen as the search runs." in mpn("plan", "search")


def test_a_study_that_was_never_run_is_not_found(home):
    said = home("table", "smal", code=2)
    assert "'smal' is not here" in said
    assert "did you mean 'small'?" in said


def test_too_few_mistakes_to_edit_is_the_users_to_mend(mpn, study):
    said = mpn("run", study, "--executor", "inline", "--set", "base.streams.edits=500", code=2)
    assert "mistakes of the base model" in said
    assert "blocks that are complete are kept" in said


def test_a_value_can_be_overridden(mpn, study):
    plan = mpn.json("plan", study, "--json", "--set", "base.streams.count=1")
    assert plan["totals"]["blocks"] == 3


def test_resume_continues_by_name(home):
    home("resume", "small", "--executor", "inline")
    assert home.json("status", "small", "--json")["last_run"]["blocks_reused"] == 6


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Folders with the names of the data and models that studies ask for; nothing is in them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPN_REAL_DATA", str(tmp_path / "real"))
    for model in ("mbert-xnli", "xlmr-xnli", "mbert-xfever"):
        (tmp_path / "base-models" / model).mkdir(parents=True)
    (tmp_path / "real" / "models" / "xnli-minilm-multi").mkdir(parents=True)
    (tmp_path / "real" / "xnli").mkdir()
    for language in LANGUAGES:
        (tmp_path / "real" / "xnli" / f"test.{language}.jsonl").touch()
    (tmp_path / "xfever" / "data" / "test").mkdir(parents=True)
    for language in ("cs", "en", "it"):
        (tmp_path / "xfever" / "data" / "test" / f"{language}.parquet").touch()


@pytest.mark.parametrize("name", sorted(path.stem for path in bundled_specs().glob("*.yaml")))
def test_every_study_that_comes_along_can_be_planned(mpn, prepared, name):
    plan = mpn.json("plan", name, "--json")
    assert plan["totals"]["trials"] >= 3
    assert sum(trial["baseline"] for trial in plan["trials"]) == (not plan["search"])


@pytest.mark.parametrize("path", sorted(bundled_specs().glob("*.yaml")), ids=lambda path: path.stem)
def test_study_files_pin_what_they_take_from_the_hub(path):
    base = yaml.safe_load(path.read_text())["base"]
    from_hub = [base["backbone"]] if "/" in base["backbone"]["name"] else []
    from_hub += [base["dataset"]] if base["dataset"]["name"] == "xnli" else []
    for source in from_hub:
        is_folder = source.get("path") or source["name"].startswith(("$", "base-models/"))
        assert is_folder or re.fullmatch("[0-9a-f]{40}", source["revision"])


def test_the_doctor_finds_this_machine_fit(mpn, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # Ray is to start, not to join a cluster
    said = mpn("doctor")
    assert "bad" not in said
    assert "Ray: starts, and runs a task" in said


def test_json_is_strict(home):
    text = home("table", "small", "--format", "json")
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_study_files_say_what_they_ask_and_expect(mpn):
    for path in bundled_specs().glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        assert content["question"].endswith("?")
        assert content["expect"]
