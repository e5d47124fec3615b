import pytest
import torch

from mpn.errors import MpnInputError
from mpn.pairing import PairingSettings

TARGETS = ["de", "es", "fr", "ru", "zh"]
SEEDS = {"seed": 0, "stream": 1}


def schedule(policy, n_drawn_from, n_steps=50, edit=0):
    return policy.schedule(n_drawn_from, n_steps=n_steps, seed=0, stream=1, edit=edit)


def test_no_paired_language_leaves_the_source_alone():
    policy = PairingSettings(languages=0)
    assert policy.drawn_from(TARGETS, **SEEDS) == ()
    assert schedule(policy, 0, n_steps=3).tolist() == [[0], [0], [0]]


def test_fixed_languages_are_all_used_at_every_step():
    policy = PairingSettings(languages=2, choice="fixed")
    assert schedule(policy, 2, n_steps=2).tolist() == [[0, 1, 2], [0, 1, 2]]


def test_fewer_fixed_languages_are_among_more():
    chosen = [
        PairingSettings(languages=n, choice="fixed").drawn_from(TARGETS, **SEEDS)
        for n in (1, 2, "all")
    ]
    assert chosen[1][:1] == chosen[0]
    assert chosen[2][:2] == chosen[1]
    assert sorted(chosen[2]) == TARGETS


def test_streams_draw_other_languages():
    policy = PairingSettings(languages=1, choice="fixed")
    drawn = {policy.drawn_from(TARGETS, seed=0, stream=stream) for stream in range(20)}
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
    assert policy.drawn_from(TARGETS, **SEEDS) == ("ru", "zh")


def test_as_many_languages_as_candidates_are_enough_and_one_more_is_too_many():
    assert PairingSettings(languages=5).count(5) == 5
    with pytest.raises(MpnInputError, match="6 paired languages, 5 candidates; write at most 5"):
        PairingSettings(languages=6).drawn_from(TARGETS, **SEEDS)


def test_candidates_that_the_corpus_lacks_are_named():
    with pytest.raises(MpnInputError, match="sw cannot be paired"):
        PairingSettings(candidates=["ru", "sw"], languages=1).drawn_from(TARGETS, **SEEDS)
