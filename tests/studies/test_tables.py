"""The table for people, on numbers small enough to check by hand."""

import csv
import io
import json

import pytest

from orchestrator.results import StudyResults, TrialResult
from studies.analysis.tables import (
    cautions,
    headline_metrics,
    render_table,
    table_cells,
    terminal_table,
)

CLG = "cross_lingual_generality"


def trial(
    number, values, *, baseline=False, state="complete", params=None, label=None, pruned_at=None
):
    streams = {i: {name: (v, 4) for name, v in s.items()} for i, s in enumerate(values)}
    return TrialResult(
        number=number,
        label=label or f"languages={number}",
        baseline=baseline,
        state=state,
        params={"pairing.languages": number} if params is None else params,
        resolved={},
        block_ids=(),
        streams=streams,
        failure=None,
        pruned_at=pruned_at,
    )


def study(*trials, level=0.5):
    """At a level of 0.5 and two streams, Student's t is exactly 1."""
    measure = {"primary": CLG, "guard": ["locality"], "interval": {"level": level}}
    return StudyResults("made", "Is it so?", None, measure, trials, ledger=None)


RESULTS = study(
    trial(0, [{CLG: 0.5, "locality": 1.0}, {CLG: 0.7, "locality": 1.0}], baseline=True),
    trial(2, [{CLG: 0.6, f"{CLG}_seen": 1.0}, {CLG: 1.0, f"{CLG}_seen": 0.5}]),
)


def test_levels_have_half_their_interval_and_gains_are_paired():
    header, cells = table_cells(RESULTS, RESULTS.rows())
    assert header == ["trial", "languages", "CLG", "CLG seen", "locality", "Δ CLG"]
    # means .6 and .8; half widths: t x sd / sqrt(2) = .1 and .2; gains .1 and .3
    assert cells == [
        ["0", "0", "60.0 ± 10.0", "–", "100.0 ± 0.0", "baseline"],
        ["2", "2", "80.0 ± 20.0", "75.0 ± 25.0", "–", "+20.0 [+10.0, +30.0]"],
    ]


def test_an_ablation_goes_by_its_name():
    named = study(trial(0, [{CLG: 0.5}], baseline=True), trial(1, [{CLG: 0.5}], label="no-memory"))
    assert [row[0] for row in table_cells(named, named.rows())[1]] == ["0", "1 no-memory"]


def test_edits_that_no_neuron_can_tell_from_the_memory_are_pointed_at():
    values = [{CLG: 0.5, "separable": 1.0}, {CLG: 0.5, "separable": 0.5}]
    blind = study(trial(0, [{CLG: 0.5, "separable": 1.0}]), trial(3, values, label="layer-0"))
    (caution,) = cautions(blind)
    assert caution.startswith("Trial 3 (layer-0): 25 % of its edits could not be told")
    assert caution in render_table(blind, "md")
    assert cautions(RESULTS) == []


def test_only_metrics_that_some_trial_has_are_shown():
    assert headline_metrics(RESULTS) == [CLG, f"{CLG}_seen", "locality"]


def test_one_stream_has_no_interval():
    one = study(trial(0, [{CLG: 0.5}], baseline=True), trial(1, [{CLG: 0.75}]))
    assert table_cells(one, one.rows())[1] == [
        ["0", "0", "50.0", "baseline"],
        ["1", "1", "75.0", "+25.0"],
    ]
    assert "one stream" in render_table(one, "md")


def test_a_trial_that_is_not_complete_says_so():
    partial = study(trial(0, [{CLG: 0.5}], baseline=True), trial(1, [{CLG: 0.5}], state="failed"))
    assert [row[0] for row in table_cells(partial, partial.rows())[1]] == ["0", "1 (failed)"]


def test_swept_values_are_short_and_paths_as_long_as_they_must_be():
    params = {"editor.memory.weight": 0.123456789, "loss.weight": [1, 2], "layer": None}
    made = study(trial(0, [{CLG: 0.5}], baseline=True, params=params))
    header, cells = table_cells(made, made.rows())
    assert header[1:4] == ["editor.memory.weight", "loss.weight", "layer"]
    assert cells[0][1:4] == ["0.1235", "[1,2]", "null"]


def test_trials_that_differ_in_mappings_are_told_apart_by_their_labels():
    params = {"editor": {"name": "finetune", "part": "model"}, "layer": 1}
    made = study(trial(0, [{CLG: 0.5}], baseline=True, params=params))
    header, cells = table_cells(made, made.rows())
    assert header[:2] == ["trial", "CLG"]
    assert cells[0][:2] == [f"0 {made.rows()[0].trial.label}", "50.0"]


def test_markdown_has_a_cell_for_every_column():
    lines = render_table(RESULTS, "md").splitlines()
    assert [line.count("|") for line in lines[:4]] == [7, 7, 7, 7]


def test_latex_escapes_what_latex_reads():
    text = render_table(RESULTS, "latex")
    assert r"60.0 $\pm$ 10.0" in text
    assert r"$\Delta$ CLG" in text
    assert "±" not in text.split("%")[0]


def test_csv_is_long_and_whole():
    rows = list(csv.DictReader(io.StringIO(render_table(RESULTS, "csv"))))
    found = {(row["trial"], row["metric"]): row for row in rows}
    assert len(found) == 4
    assert float(found["2", CLG]["difference_low"]) == pytest.approx(0.1)
    assert found["0", CLG]["difference"] == ""


def test_json_has_rates():
    row = json.loads(render_table(RESULTS, "json"))[1]
    assert row["metrics"][CLG] == pytest.approx({"mean": 0.8, "low": 0.6, "high": 1.0, "n": 2})
    assert row["difference"][CLG] == pytest.approx({"mean": 0.2, "low": 0.1, "high": 0.3})


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="known are md, json, csv, latex"):
        render_table(RESULTS, "xls")


def test_a_narrow_terminal_leaves_out_the_intervals_of_levels():
    wide, narrow = (
        [cell for column in terminal_table(RESULTS, width).columns for cell in column.cells]
        for width in (120, 80)
    )
    assert "60.0\n± 10.0" in wide
    assert "60.0" in narrow
    assert "+20.0\n[+10.0,\n+30.0]" in narrow


# -- pruned trials ------------------------------------------------------------------------

PRUNED = study(
    trial(0, [{CLG: 0.5}, {CLG: 0.7}], baseline=True),
    trial(1, [], state="pruned", pruned_at={"step": 5, "value": 0.25}),
    trial(2, [{CLG: 0.6}, {CLG: 1.0}]),
)


def test_a_pruned_trial_is_shown_as_such_and_compared_with_nothing():
    header, cells = table_cells(PRUNED, PRUNED.listed())
    assert header == ["trial", "languages", "CLG", "Δ CLG"]
    assert cells[1] == ["1 (pruned)", "1", "–", "–"]
    assert [row[0] for row in cells] == ["0", "1 (pruned)", "2"]
    for form in ("md", "latex"):
        text = render_table(PRUNED, form)
        assert "1 (pruned)" in text
        assert "Pruned: stopped early" in text
    assert "Pruned" not in render_table(RESULTS, "md")
    names = next(iter(terminal_table(PRUNED, 120).columns)).cells
    assert "1 (pruned)" in list(names)


def test_programs_are_told_which_trials_were_pruned_and_where():
    row = json.loads(render_table(PRUNED, "json"))[1]
    assert (row["state"], row["metrics"], row["difference"]) == ("pruned", {}, {})
    assert row["pruned_at"] == {"step": 5, "value": 0.25}
    rows = list(csv.DictReader(io.StringIO(render_table(PRUNED, "csv"))))
    assert [row["state"] for row in rows] == ["complete", "pruned", "complete"]
    assert (rows[1]["metric"], rows[1]["mean"]) == ("", "")
