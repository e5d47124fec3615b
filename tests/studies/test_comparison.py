"""Two trials of a real ledger, paired by edit."""

import numpy as np
import pytest

from orchestrator.errors import InputError
from orchestrator.ledger import Ledger
from orchestrator.objective import Record
from orchestrator.results import StudyResults
from studies.analysis.comparison import Side, compare_trials, render_comparison

CLG = "cross_lingual_generality"


def edit(stream, position, *, item=None, source="en", seen=(), **right):
    """Records of one edit: right in the source, and in other languages as said."""
    item = item or f"{stream}.{position}"
    yield Record(stream, position, item, "reliability", source, 1.0, 1)
    for language, value in right.items():
        yield Record(stream, position, item, CLG, language, float(value), 1, language in seen)


@pytest.fixture
def sides(tmp_path):
    """Write two trials' records; return them ready to compare."""

    def make(*trials, resolved=None, pruned=()):
        ledger = Ledger(str(tmp_path))
        remembered = []
        for number, edits in enumerate(trials):
            records = [record for one in edits for record in one]
            ledger.complete(f"b{number}", records, {0: {CLG: (0.5, 1)}}, {})
            remembered.append(
                {
                    "number": number,
                    "label": f"t{number}",
                    "baseline": number == 0,
                    "state": "complete",
                    "changes": {},
                    "params": resolved or {},
                    "blocks": [{"block_id": f"b{number}"}],
                    "pruned_at": {"step": 1, "value": 0.5} if number in pruned else None,
                }
            )
        spec = {"question": "?", "measure": {"primary": CLG, "interval": {"level": 0.9}}}
        ledger.remember_study("made", {"spec": spec, "trials": remembered})
        results = StudyResults.load(ledger, "made")
        return [Side(results, trial) for trial in results.trials]

    return make


def compared(sides, metric=CLG):
    return compare_trials(*sides, metric, 0.9, np.random.default_rng(0))


def test_differences_are_per_language_source_first_then_macro(sides):
    found = compared(
        sides(
            [edit(0, i, fr=0, de=0) for i in range(4)],
            [edit(0, i, fr=1, de=i % 2) for i in range(4)],
        )
    )
    assert {name: d.mean for name, d in found.rows.items()} == {"de": 0.5, "fr": 1, "macro": 0.75}
    assert found.languages["fr"].edits == 4
    source = compared((found.first, found.second), "reliability")
    assert list(source.rows) == ["en"] and source.macro is None


def test_trials_with_part_of_their_edits_in_common_are_compared_on_it_and_say_so(sides):
    found = compared(
        sides([edit(0, i, fr=0) for i in range(3)], [edit(0, i, fr=1) for i in range(1, 6)])
    )
    assert found.languages["fr"].edits == 2
    assert found.notes[0] == (
        "Compared on the 2 edits that both have; 1 only in made:0 and 3 only in made:1."
    )


def test_trials_without_a_common_edit_are_refused_and_told_which_are_missing(sides):
    ours = [edit(0, i, item=f"a{i}", fr=0) for i in range(7)]
    with pytest.raises(InputError) as error:
        compared(sides(ours, [edit(0, 0, item="z", fr=0)]))
    said = str(error.value)
    assert "made:0: has 7 edits, and misses z (stream 0, edit 0)" in said
    assert "a0 (stream 0, edit 0), " in said and "a4 (stream 0, edit 4) and 2 more" in said
    assert "a5" not in said
    assert error.value.exit_code == 2 and said.endswith("Nothing was compared.")


def test_a_pruned_trial_is_not_compared_whatever_it_has_done(sides):
    edits = [edit(0, i, fr=i % 2) for i in range(4)]
    with pytest.raises(InputError, match="made:1: was pruned"):
        compared(sides(edits, edits, pruned=[1]))


def test_the_same_example_at_another_place_is_another_edit(sides):
    with pytest.raises(InputError):
        compared(sides([edit(0, 0, item="a", fr=0)], [edit(0, 1, item="a", fr=0)]))


def test_edits_of_different_source_languages_are_not_paired(sides):
    with pytest.raises(InputError, match="source language: de and en"):
        compared(sides([edit(0, 0, source="de", fr=0)], [edit(0, 0, fr=1)]))


def test_a_metric_that_is_not_there_is_refused_with_what_was_meant(sides):
    with pytest.raises(InputError, match="did you mean 'reliability'"):
        compared(sides([edit(0, 0, fr=0)], [edit(0, 0, fr=1)]), "reliabilty")


def test_unseen_counts_what_was_unseen_under_both(sides):
    two = sides(
        [edit(0, i, fr=0, de=0) for i in range(2)],
        [edit(0, i, fr=1, de=1, seen=["fr"]) for i in range(2)],
    )
    assert list(compared(two, f"{CLG}_unseen").languages) == ["de"]
    with pytest.raises(InputError, match="is defined on no common edit"):
        compared(two, f"{CLG}_seen")


def test_what_is_measured_once_a_stream_is_paired_by_stream(sides):
    def retained(stream, value):
        yield from edit(stream, 0, fr=1)
        yield Record(stream, -1, "", "edit_retention", "en", value, 4)

    sequential = {"streams": {"protocol": "sequential"}}
    base, ours = ([retained(s, v) for s in range(3)] for v in (0.5, 1.0))
    found = compared(sides(base, ours, resolved=sequential), "edit_retention")
    assert (found.languages["en"].mean, found.languages["en"].low) == (0.5, 0.5)
    assert found.languages["en"].edits == 3


@pytest.mark.parametrize(
    ("resolved", "how"),
    [
        ({"streams": {"protocol": "single"}, "pairing": {"languages": 0}}, "of edits"),
        ({"pairing": {"languages": 2, "choice": "random"}}, "of edits"),
        ({"pairing": {"languages": 2, "choice": "fixed"}}, "of 2 streams, then of their edits"),
        ({"streams": {"protocol": "sequential"}}, "of 2 streams, then of their edits"),
    ],
)
def test_streams_are_drawn_where_their_edits_hang_together(sides, resolved, how):
    edits = [[edit(s, i, fr=v) for s in (0, 1) for i in (0, 1)] for v in (0, 1)]
    found = compared(sides(*edits, resolved=resolved))
    assert f"by bootstrap {how}; Holm" in " ".join(found.notes)


def test_every_format_has_every_row(sides):
    found = compared(sides([edit(0, i, fr=0) for i in (0, 1)], [edit(0, i, fr=1) for i in (0, 1)]))
    assert "| fr | 0.0 | 100.0 | +100.0 | [+100.0, +100.0] | 0.0002 | 0.0002 | 2 |" in (
        render_comparison(found, "md")
    )
    assert r"\toprule" in render_comparison(found, "latex")
    assert render_comparison(found, "csv").splitlines()[1].startswith("made:0,made:1,cross_lin")
    with pytest.raises(ValueError, match="known are"):
        render_comparison(found, "xls")
