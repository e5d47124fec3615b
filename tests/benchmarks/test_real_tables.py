"""The tables of the real study, on numbers small enough to check by hand."""

import json

import pytest

from benchmarks import real
from benchmarks.real_tables import (
    Comparison,
    before_the_edits,
    comparisons,
    json_of,
    markdown,
    of_protocol,
)
from orchestrator.results import Estimate, StudyResults, TrialResult

CLG, CORRECTION = "cross_lingual_generality", "cross_lingual_correction"


def trial(number, protocol, languages, choice, *streams):
    block = "none" if languages == 0 else choice  # without pairing, fixed and random are twins
    return TrialResult(
        number=number,
        label=f"languages={languages}",
        baseline=number == 0,
        state="complete",
        params={
            "streams.protocol": protocol,
            "pairing.choice": choice,
            "pairing.languages": languages,
        },
        resolved={
            "streams": {"protocol": protocol},
            "pairing": {"languages": languages, "choice": choice, "candidates": ["de", "fr"]},
        },
        block_ids=(f"{protocol} {block} {languages}",),
        streams=dict(enumerate(streams)),
        failure=None,
    )


def measured(de, fr, sw, ur, *, n_wrong=(2, 4, 4, 4)):
    """A stream of four edits; in German two of them were right before the edit."""
    values = dict(zip(("de", "fr", "sw", "ur"), (de, fr, sw, ur), strict=True))
    summary = {f"{CLG}/{language}": (value, 4) for language, value in values.items()}
    for language, n in zip(values, n_wrong, strict=True):
        if n:
            summary[f"{CORRECTION}/{language}"] = (0.5, n)
    headline = {CLG: sum(values.values()) / 4, f"{CLG}_unseen": (sw + ur) / 2}
    rest = {"reliability": 1.0, CORRECTION: 0.085, "locality": 1.0}
    return summary | {name: (value, 16) for name, value in (headline | rest).items()}


def study(*trials):
    measure = {"primary": CLG, "guard": ["locality"], "interval": {"level": 0.5}}
    return StudyResults("made", "Is it so?", None, measure, trials, ledger=None)


SMALL = study(
    trial(0, "single", 0, "fixed", measured(0.5, 0.5, 0.1, 0.3), measured(0.5, 0.5, 0.1, 0.5)),
    trial(1, "single", 0, "random", measured(0.5, 0.5, 0.1, 0.3), measured(0.5, 0.5, 0.1, 0.5)),
    trial(2, "single", 1, "random", measured(1.0, 1.0, 0.4, 0.6), measured(1.0, 1.0, 0.4, 0.8)),
    trial(3, "sequential", 0, "fixed", measured(0.5, 0.5, 0.2, 0.2)),
    trial(4, "sequential", 1, "random", measured(1.0, 0.5, 0.2, 0.2)),
)


def test_each_protocol_is_compared_with_its_own_plain_editor():
    rows = {name: of_protocol(SMALL, name).rows() for name in ("single", "sequential")}
    assert [row.trial.number for row in rows["single"]] == [0, 1, 2]
    assert [row.trial.baseline for row in rows["sequential"]] == [True, False]
    gain = rows["sequential"][1].difference[CLG]
    assert gain.mean == pytest.approx(0.125)  # one of four languages gains half


def test_languages_that_no_trial_pairs_make_a_metric_of_their_own():
    rows = of_protocol(SMALL, "single").rows()
    # sw and ur: means .2 and .3 of the two streams, then .5 and .6
    assert rows[0].metrics["never_paired"].mean == pytest.approx(0.25)
    assert rows[2].metrics["never_paired"].mean == pytest.approx(0.55)


@pytest.mark.parametrize(("n_wrong", "share"), [((2, 4, 4, 4), 0.125), ((0, 4, 4, 2), 0.375)])
def test_what_needs_no_correction_was_right_before_the_edits(n_wrong, share):
    made = study(trial(0, "single", 0, "fixed", measured(0.5, 0.5, 0.1, 0.3, n_wrong=n_wrong)))
    assert before_the_edits(made).mean == pytest.approx(share)


@pytest.mark.parametrize(
    ("metric", "prototype", "is_inside"),
    [
        (CLG, 60.05, True),  # rounded to a digit, it may have been 60.0
        (CLG, 60.1, False),
        (CLG, 39.95, True),
        (CLG, 39.9, False),
        ("locality", 60.005, True),  # known to two digits
        ("locality", 60.05, False),
    ],
)
def test_a_figure_of_the_prototypes_is_as_wide_as_its_rounding(metric, prototype, is_inside):
    ours = Estimate(50.0, 40.0, 60.0, 5)
    assert Comparison((2, "fixed"), metric, prototype, ours).is_inside is is_inside


def test_without_an_interval_the_mean_itself_is_compared():
    ours = Estimate(50.0, None, None, 1)
    assert Comparison((2, "fixed"), CLG, 50.0, ours).is_inside
    assert not Comparison((2, "fixed"), CLG, 51.0, ours).is_inside


def test_only_settings_that_the_prototype_had_are_compared():
    found = comparisons(of_protocol(SMALL, "single"))
    assert {one.setting for one in found} == {(0, "fixed"), (1, "random")}
    (clg,) = (one for one in found if one.setting == (1, "random") and one.metric == CLG)
    # streams .75 and .8; half the interval is half their distance
    assert (clg.prototype, clg.ours.mean, clg.ours.low) == pytest.approx((82.1, 77.5, 75.0))


def test_the_tables_leave_out_twins_and_mark_what_is_outside():
    text = markdown(SMALL)
    single, beside, sequential = text.split("### ")[1:]
    assert [line[:3] for line in single.splitlines() if line[2:3].isdigit()] == ["| 0", "| 2"]
    assert "Before the edits CLG is 12.5 [12.5, 12.5], the prototype's 28.1." in single
    assert "| 1 random | **82.1**; 77.5 [75.0, 80.0] |" in beside
    assert "| 0 fixed | **31.9**; 37.5 [35.0, 40.0] | 8.5; 8.5 [8.5, 8.5] |" in beside
    assert "+12.5" in sequential


def test_programs_get_the_same_as_strict_json():
    content = json.loads(json.dumps(json_of(SMALL), allow_nan=False))
    assert [row["trial"] for row in content["sequential"]] == [3, 4]
    assert content["before"] == pytest.approx(0.125)
    assert {one["is_inside"] for one in content["prototype"]} == {True, False}


def test_without_data_nothing_is_run(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("MPN_REAL_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["real", "--home", str(tmp_path / "home")])
    with pytest.raises(SystemExit) as end:
        real.main()
    assert end.value.code == 2
    assert "MPN_REAL_DATA is not set" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()
