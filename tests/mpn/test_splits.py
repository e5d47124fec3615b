import pytest

from mpn.data.corpus import Corpus
from mpn.data.splits import choose_edits, deal_stream, split_roles
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


def test_the_parts_depend_on_the_seed_alone():
    corpus = corpus_of(example(i) for i in range(20))
    assert split_roles(corpus, seed=1) == split_roles(corpus, seed=1)
    assert split_roles(corpus, seed=1) != split_roles(corpus, seed=2)


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


def test_streams_share_no_edit_and_the_last_one_fits_exactly():
    edits = choose_edits(
        [example(i, label=1) for i in range(6)], [0] * 6, source_language="en", seed=0
    )
    streams = [deal_stream(edits, stream=stream, n_edits=2) for stream in range(3)]
    assert len({edit.edit_id for stream in streams for edit in stream}) == 6
    with pytest.raises(MpnInputError, match=r"needs 8 mistakes .* has 6; .* at most 3 streams"):
        deal_stream(edits, stream=3, n_edits=2)


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
