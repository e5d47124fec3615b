import pytest
import torch
from pydantic import ValidationError

from mpn.errors import MpnInputError
from mpn.pairing import PairingSettings, inverse_accuracies

TARGETS = ["de", "es", "fr", "ru", "zh"]
SEEDS = {"seed": 0, "stream": 1}
FIXED_BEFORE = ("ru", "fr", "es")
DRAWN_BEFORE = [[0, 5, 2], [0, 5, 4], [0, 4, 5], [0, 4, 2]]
DRAWN = {"source": "en", **SEEDS}


def schedule(policy, n_drawn_from, n_steps=50, edit=0):
    return policy.schedule(n_drawn_from, n_steps=n_steps, seed=0, stream=1, edit=edit)


def test_no_paired_language_leaves_the_source_alone():
    policy = PairingSettings(languages=0)
    assert policy.drawn_from(TARGETS, **DRAWN) == ()
    assert schedule(policy, 0, n_steps=3).tolist() == [[0], [0], [0]]


def test_fixed_languages_are_all_used_at_every_step():
    policy = PairingSettings(languages=2, choice="fixed")
    assert schedule(policy, 2, n_steps=2).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_fewer_fixed_languages_are_among_more():
    chosen = [
        PairingSettings(languages=n, choice="fixed").drawn_from(TARGETS, **DRAWN)
        for n in (1, 2, "all")
    ]
    assert chosen[1][:1] == chosen[0]
    assert chosen[2][:2] == chosen[1]
    assert sorted(chosen[2]) == TARGETS


def test_streams_draw_other_languages():
    policy = PairingSettings(languages=1, choice="fixed")
    drawn = {policy.drawn_from(TARGETS, source="en", seed=0, stream=stream) for stream in range(20)}
    assert len(drawn) > 1


def test_random_languages_are_drawn_anew_at_each_step_and_all_come_up():
    policy = PairingSettings(languages=2)
    rows = schedule(policy, 5)
    assert rows[:, 0].eq(0).all()
    assert all(len(set(row)) == 3 for row in rows.tolist())  # the source and two others
    assert set(rows[:, 1:].flatten().tolist()) == {1, 2, 3, 4, 5}
    assert policy.seen(TARGETS, **SEEDS, edit=0) == set(TARGETS)


def test_languages_drawn_per_edit_stay_for_the_edit():
    policy = PairingSettings(languages=2, redraw="per_edit")
    rows = [schedule(policy, 5, edit=edit) for edit in range(8)]
    assert all((row == row[0]).all() for row in rows)
    assert len({tuple(row[0].tolist()) for row in rows}) > 1
    drawn = {TARGETS[i - 1] for i in rows[3][0, 1:].tolist()}
    assert policy.seen(TARGETS, **SEEDS, edit=3) == drawn


def test_draws_depend_on_seed_stream_and_edit_only():
    policy = PairingSettings(languages=2)
    assert torch.equal(schedule(policy, 5, edit=7), schedule(policy, 5, edit=7))
    assert not torch.equal(schedule(policy, 5, edit=7), schedule(policy, 5, edit=8))


def test_a_longer_schedule_begins_like_a_shorter_one():
    policy = PairingSettings(languages=2)
    assert torch.equal(schedule(policy, 5, n_steps=40)[:10], schedule(policy, 5, n_steps=10))


def test_only_candidates_are_drawn():
    policy = PairingSettings(languages=1, candidates=["ru", "zh"])
    assert policy.drawn_from(TARGETS, **DRAWN) == ("ru", "zh")


def test_as_many_languages_as_candidates_are_enough_and_one_more_is_too_many():
    assert PairingSettings(languages=5).count(5) == 5
    with pytest.raises(MpnInputError, match="6 paired languages, 5 candidates; write at most 5"):
        PairingSettings(languages=6).drawn_from(TARGETS, **DRAWN)


def test_candidates_that_the_corpus_lacks_are_named():
    with pytest.raises(MpnInputError, match="sw cannot be paired"):
        PairingSettings(candidates=["ru", "sw"], languages=1).drawn_from(TARGETS, **DRAWN)


def test_a_ratio_repeats_the_source_and_what_is_paired_with_it():
    policy = PairingSettings(languages=2, choice="fixed", ratio=[3, 2])
    assert schedule(policy, 2, n_steps=2).tolist() == [[0, 0, 0, 1, 2, 1, 2]] * 2


def test_without_pairing_a_ratio_says_nothing():
    policy = PairingSettings(languages=0, ratio=[3, 2])
    assert schedule(policy, 0, n_steps=1).tolist() == [[0]]


def test_repeated_rows_are_seen_once():
    policy = PairingSettings(languages=1, redraw="per_edit", ratio=[2, 2])
    assert len(policy.seen(TARGETS, **SEEDS, edit=0)) == 1


@pytest.mark.parametrize("ratio", [[1], [1, 1, 1], [0, 1], [1, 0.5]])
def test_a_ratio_is_two_counts(ratio):
    with pytest.raises(ValidationError, match="ratio"):
        PairingSettings(ratio=ratio)


def test_typological_languages_are_the_farthest_from_all_before_them():
    # from en: zh is 3 away, ru 2, es and fr 1, de 0; from zh they are all 3 away
    policy = PairingSettings(languages="all", choice="typological")
    drawn = policy.drawn_from(TARGETS, **DRAWN)
    assert drawn[:2] == ("zh", "ru")
    assert drawn[2] in ("es", "fr")  # de is what en is, and es what fr is
    assert schedule(policy, 5, n_steps=2).tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_of_languages_equally_far_each_stream_takes_its_own():
    policy = PairingSettings(languages=3, choice="typological")
    drawn = [policy.drawn_from(TARGETS, source="en", seed=0, stream=stream) for stream in range(20)]
    assert {languages[2] for languages in drawn} == {"es", "fr"}
    assert drawn[3] == policy.drawn_from(TARGETS, source="en", seed=0, stream=3)


def test_a_language_of_no_known_family_is_left_to_other_choices():
    targets = [*TARGETS, "tlh"]
    with pytest.raises(MpnInputError, match="no family and script is known of tlh"):
        PairingSettings(languages=1, choice="typological").drawn_from(targets, **DRAWN)
    assert PairingSettings(languages=6, choice="fixed").drawn_from(targets, **DRAWN)


def test_the_weight_of_a_language_is_one_over_its_accuracy():
    weights = inverse_accuracies([0.5, 0.25, 0.01, 0.0], n_texts=10)
    assert weights.tolist() == [2.0, 4.0, 10.0, 10.0]  # none counts as less than one text of ten


def test_languages_are_drawn_as_often_as_they_weigh():
    policy = PairingSettings(languages=1, weights="inverse_accuracy")
    weights = torch.tensor([1.0, 3.0])
    rows = policy.schedule(2, n_steps=4000, seed=0, stream=1, edit=0, weights=weights)
    share = (rows[:, 1] == 2).double().mean().item()
    assert share == pytest.approx(0.75, abs=0.03)  # four standard deviations


def test_weighted_streams_draw_heavy_languages_first():
    policy = PairingSettings(languages=1, choice="fixed", weights="inverse_accuracy")
    weights = torch.tensor([1.0, 1.0, 1.0, 1.0, 96.0])
    drawn = [
        policy.drawn_from(TARGETS, source="en", seed=0, stream=stream, weights=weights)
        for stream in range(100)
    ]
    assert 90 <= drawn.count(("zh",)) < 100


def test_weights_without_a_draw_are_refused():
    policy = PairingSettings(languages=1, choice="typological", weights="inverse_accuracy")
    with pytest.raises(MpnInputError, match="write weights: uniform, or choice: fixed"):
        policy.drawn_from(TARGETS, **DRAWN)


def test_what_was_drawn_before_there_were_weights_is_drawn_still():
    """Studies that were run keep their languages, step by step."""
    fixed = PairingSettings(languages=3, choice="fixed").drawn_from(TARGETS, **DRAWN)
    rows = schedule(PairingSettings(languages=2), 5, n_steps=4)
    assert fixed == FIXED_BEFORE
    assert rows.tolist() == DRAWN_BEFORE
