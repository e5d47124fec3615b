"""The table by language, on numbers small enough to check by hand."""

import csv
import io
import json

import pytest

from orchestrator.results import StudyResults, TrialResult
from studies.analysis.language_tables import (
    language_table,
    metrics_by_language,
    paper_metrics,
    render_language_table,
    terminal_language_tables,
)

CLG = "cross_lingual_generality"


def trial(number, *streams, label=None, baseline=False, state="complete"):
    made = {i: {name: (v, 4) for name, v in s.items()} for i, s in enumerate(streams)}
    name = label or f"languages={number}"
    return TrialResult(number, name, baseline, state, {}, {}, (), made, None)


def study(*trials):
    """At a level of 0.5 and two streams, Student's t is exactly 1."""
    measure = {"primary": CLG, "guard": ["locality"], "interval": {"level": 0.5}}
    return StudyResults("made", "Is it so?", None, measure, trials, ledger=None)


def stream(source, sw, de, **more):
    return {
        "reliability/en": source,
        "reliability": source,
        f"{CLG}/sw": sw,
        f"{CLG}/de": de,
    } | more


RESULTS = study(
    trial(0, stream(1.0, 0.2, 0.4), stream(1.0, 0.4, 0.6), label="a_b & 50%", baseline=True),
    trial(
        1,
        {"reliability/en": 1.0, f"{CLG}/de": 0.5, f"{CLG}_seen": 0.5, f"{CLG}_seen/de": 0.5},
        {"reliability/en": 0.5, f"{CLG}/de": 1.0, f"{CLG}_seen": 1.0, f"{CLG}_seen/de": 1.0},
        state="failed",
    ),
)
TABLE = language_table(RESULTS, paper_metrics(RESULTS))


def test_only_the_papers_metrics_that_the_study_has_are_taken():
    assert paper_metrics(RESULTS) == ["reliability", CLG]
    assert metrics_by_language(RESULTS) == [CLG, "reliability"]  # seen is a part of CLG


def test_the_source_stands_first_and_what_spans_languages_last():
    assert TABLE.columns("reliability", CLG) == ("en", "de", "sw", "macro", "seen")
    assert TABLE.columns("reliability") == ("en",)


def test_markdown_has_a_block_per_metric_with_half_intervals_in_percent():
    lines = render_language_table(TABLE, "md").splitlines()
    assert lines[:6] == [
        "**reliability**",
        "",
        "| trial | en |",
        "| --- | ---: |",
        "| 0 a_b & 50% | 100.0 ± 0.0 |",
        "| 1 languages=1 (failed) | 75.0 ± 25.0 |",
    ]
    # macro within each stream: .3 and .5; half width t x sd / sqrt(2) = .1
    assert lines[9:13] == [
        "| trial | de | sw | macro | seen |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 0 a_b & 50% | 50.0 ± 10.0 | 30.0 ± 10.0 | 40.0 ± 10.0 | – |",
        "| 1 languages=1 (failed) | 75.0 ± 25.0 | – | 75.0 ± 25.0 | 75.0 ± 25.0 |",
    ]


def test_the_macro_mean_leaves_out_the_trials_own_source():
    values = {"reliability/en": 1.0, "locality/en": 0.0, "locality/de": 1.0, "locality/sw": 0.5}
    table = language_table(study(trial(0, values)), ["locality"])
    assert table.cells[0, "locality", "macro"].estimate.mean == 0.75
    assert table.cells[0, "locality", "macro"].cases == 8  # four in each of two languages


def test_latex_is_escaped_and_has_booktabs_rules():
    text = render_language_table(TABLE, "latex")
    body, _, note = text.partition("\\end{tabular}\n")
    assert body.startswith("\\begin{tabular}{lrrrrr}\n\\toprule\ntrial & en & de & sw & macro")
    assert body.count("\\midrule") == 2 and body.endswith("\\bottomrule\n")
    assert r"\multicolumn{6}{l}{\emph{CLG}} \\" in body
    assert r"0 a\_b \& 50\% & -- & 50.0 $\pm$ 10.0 & 30.0" in body
    assert body.isascii()
    assert all(line.startswith("%") for line in note.splitlines())
    rows = [line for line in body.splitlines() if " & " in line]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {5}


def test_csv_is_long_with_empty_cells_where_undefined():
    rows = list(csv.DictReader(io.StringIO(render_language_table(TABLE, "csv"))))
    found = {(row["trial"], row["metric"], row["language"]): row for row in rows}
    assert len(found) == 2 * 2 * 5
    whole = found["0", CLG, "de"]
    assert float(whole["mean"]) == pytest.approx(0.5)
    assert (whole["n"], whole["cases"]) == ("2", "8")
    assert found["1", CLG, "sw"]["mean"] == found["1", CLG, "sw"]["n"] == ""


def test_json_leaves_out_what_is_undefined():
    first, second = json.loads(render_language_table(TABLE, "json"))
    assert first["source_languages"] == ["en"]
    assert list(first["metrics"][CLG]) == ["de", "sw", "macro"]
    assert "sw" not in second["metrics"][CLG]
    assert second["metrics"][CLG]["seen"] == pytest.approx(
        {"mean": 0.75, "low": 0.5, "high": 1.0, "n": 2, "cases": 8}
    )


def test_one_stream_has_no_interval_and_the_note_says_so():
    text = render_language_table(
        language_table(study(trial(0, stream(1.0, 0.25, 0.5))), [CLG]), "md"
    )
    assert "| 0 languages=0 | 50.0 | 25.0 | 37.5 |" in text
    assert "one stream, so there are no intervals" in text


def test_a_terminal_gets_a_table_per_metric():
    assert [table.title for table in terminal_language_tables(TABLE)] == ["reliability", "CLG"]


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="known are md, json, csv, latex"):
        render_language_table(TABLE, "xls")
