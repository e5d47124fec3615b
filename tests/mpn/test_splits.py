from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpn.data.corpus import Corpus
from mpn.data.splits import choose_edits, deal_stream, hold_out, split_roles
from mpn.edits import ParallelExample
from mpn.errors import MpnInputError


def example(i, group=None, label=0, trained=()):
    texts = {"en": (f"text {i}",), "fr": (f"texte {i}",)}
    return ParallelExample(
        f"id-{i}", group or f"group-{i}", label, texts, trained_languages=frozenset(trained)
    )


def corpus_of(examples):
    return Corpus("made", ("en", "fr"), ("no", "yes"), tuple(examples), "fingerprint")


def test_every_example_plays_one_part_and_groups_stay_together():
    corpus = corpus_of(example(i, group=f"group-{i // 3}") for i in range(60))
    roles = split_roles(corpus, seed=0)
    parts = [roles.edit, roles.memory, roles.evaluation]
    assert [len(part) for part in parts] == [36, 12, 12]  # 60, 20 and 20 % of 20 groups
    assert sorted(e.example_id for part in parts for e in part) == sorted(
        e.example_id for e in corpus.examples
    )
    groups = [{e.group for e in part} for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 8), max_size=40),
    seed=st.integers(0, 5),
    choice=st.sampled_from(["mistakes", "counterfactual"]),
)
def test_no_id_and_no_group_stands_on_two_sides_whatever_the_corpus(groups, seed, choice):
    corpus = corpus_of(example(i, group=f"g{group}", label=i % 2) for i, group in enumerate(groups))
    roles = split_roles(corpus, seed=seed)
    parts = [roles.edit, roles.memory, roles.evaluation]
    ids = Counter(e.example_id for part in parts for e in part)
    assert ids == Counter(e.example_id for e in corpus.examples)  # each once
    sides = Counter(group for part in parts for group in {e.group for e in part})
    assert set(sides.values()) <= {1}
    edits = choose_edits(
        roles.edit,
        [0] * len(roles.edit),
        source_language="en",
        seed=seed,
        choice=choice,
        labels=[0, 1],
    )
    streams = [deal_stream(edits, stream=i, n_edits=1) for i in range(len(edits))]
    dealt = [edit.example for stream in streams for edit in stream]
    assert len({e.group for e in dealt}) == len(dealt)
    assert {e.group for e in dealt} <= {e.group for e in roles.edit}


def test_the_parts_depend_on_the_seed_alone():
    corpus = corpus_of(example(i) for i in range(20))
    assert split_roles(corpus, seed=1) == split_roles(corpus, seed=1)
    assert split_roles(corpus, seed=1) != split_roles(corpus, seed=2)


@pytest.mark.parametrize(("share", "n_groups"), [(0.2, 4), (0.25, 5), (0.01, 1)])
def test_whole_groups_are_held_out_one_at_least(share, n_groups):
    corpus = corpus_of(example(i, group=f"group-{i // 3}") for i in range(60))
    left, held_out = hold_out(corpus, share, seed=0)
    assert len(held_out.examples) == 3 * n_groups
    assert {e.group for e in left.examples}.isdisjoint(e.group for e in held_out.examples)
    assert sorted((*left.examples, *held_out.examples), key=corpus.examples.index) == list(
        corpus.examples
    )
    assert hold_out(corpus, share, seed=0) == (left, held_out)
    assert hold_out(corpus, share, seed=1)[1].examples != held_out.examples
    prints = {corpus.fingerprint, left.fingerprint, held_out.fingerprint}
    assert len(prints | {hold_out(corpus, share, seed=1)[0].fingerprint}) == 4


def test_edits_are_mistakes_on_texts_that_were_not_trained_one_a_group():
    examples = [
        example(0, label=1),  # predicted 0: a mistake
        example(1, label=0),  # predicted 0: right
        example(2, label=1, trained=["en"]),  # a mistake, but trained
        example(3, label=1, trained=["fr"]),  # trained in another language only
        example(4, group="group-0", label=1),  # a second one of its group
    ]
    edits = choose_edits(examples, [0] * 5, source_language="en", seed=0)
    assert len(edits) == 2
    assert {edit.example.group for edit in edits} == {"group-0", "group-3"}
    assert all(edit.label == 1 for edit in edits)


def counterfactual(examples, predictions, labels, seed=0):
    return choose_edits(
        examples,
        predictions,
        source_language="en",
        seed=seed,
        choice="counterfactual",
        labels=labels,
    )


def test_counterfactual_edits_ask_of_every_example_for_another_label_than_the_models():
    examples = [example(i, label=i % 3) for i in range(300)] + [example(300, trained=["en"])]
    edits = counterfactual(examples, [1] * 301, [0, 1, 2])
    assert len(edits) == 300  # all but the trained one, right or wrong
    drawn = Counter(edit.label for edit in edits)
    assert set(drawn) == {0, 2}
    assert min(drawn.values()) > 120  # of 300 fair draws, fewer once in 3,000 seeds
    assert edits == counterfactual(examples, [1] * 301, [0, 1, 2])
    assert edits != counterfactual(examples, [1] * 301, [0, 1, 2], seed=1)


def test_a_counterfactual_label_depends_on_its_own_example_alone():
    examples = [example(i) for i in range(20)]
    few = {e.edit_id: e.label for e in counterfactual(examples[15:], [0] * 5, [0, 1, 2])}
    many = {e.edit_id: e.label for e in counterfactual(examples, [0] * 20, [0, 1, 2])}
    assert few == {edit_id: many[edit_id] for edit_id in few}


def test_counterfactual_labels_are_the_corpus_own():
    # the model has labels 0 to 2 and says 2; the corpus knows 0 and 1 only
    edits = counterfactual([example(i) for i in range(40)], [2] * 40, [0, 1])
    assert {edit.label for edit in edits} == {0, 1}
    assert counterfactual([example(0)], [1], [1]) == ()  # nothing else to ask for


def test_streams_share_no_edit_and_the_last_one_fits_exactly():
    edits = choose_edits(
        [example(i, label=1) for i in range(6)], [0] * 6, source_language="en", seed=0
    )
    streams = [deal_stream(edits, stream=stream, n_edits=2) for stream in range(3)]
    assert len({edit.edit_id for stream in streams for edit in stream}) == 6
    with pytest.raises(
        MpnInputError,
        match=r"needs 8 mistakes .* has 6; .* at most 3 streams, or set dataset.edits: counterf",
    ):
        deal_stream(edits, stream=3, n_edits=2)
    with pytest.raises(MpnInputError, match=r"needs 8 examples to edit, .* at most 3 streams$"):
        deal_stream(edits, stream=3, n_edits=2, choice="counterfactual")
    with pytest.raises(MpnInputError, match=r"needs 7 mistakes .* ask for at most 6 edits a str"):
        deal_stream(edits, stream=0, n_edits=7)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([example(0), example(0)], "1 ids stand more than once, 'id-0' first"),
        ([example(0, label=2)], "label 2; labels are no, yes"),
        ([ParallelExample("id-0", "g", 0, {"en": ("text",)})], "has no text in fr"),
    ],
)
def test_a_corpus_that_would_spoil_an_experiment_is_refused(broken, message):
    with pytest.raises(MpnInputError, match=message):
        corpus_of(broken)


def test_a_language_that_is_none_is_refused():
    with pytest.raises(MpnInputError, match="'english' is not a language tag"):
        Corpus("made", ("english",), ("no",), (), "fingerprint")


def test_labels_can_be_numbered_as_a_model_numbers_them():
    relabelled = corpus_of([example(0, label=0), example(1, label=1)]).relabelled(
        ("YES", "NO"), [1, 0]
    )
    assert [e.label for e in relabelled.examples] == [1, 0]
    assert relabelled.labels == ("YES", "NO")


def test_a_corpus_can_be_cut_to_languages_and_size():
    cut = corpus_of(example(i) for i in range(5)).restricted(("fr",), 2)
    assert [dict(e.texts) for e in cut.examples] == [{"fr": ("texte 0",)}, {"fr": ("texte 1",)}]
    assert cut.fingerprint != "fingerprint"
