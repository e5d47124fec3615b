import json
import shutil

import pytest
from tiny_translators import save_tiny_m2m100, save_tiny_marian

from mpn.data.mini.claims import mini_corpus
from mpn.translation.lines import from_bytes
from orchestrator.errors import InputError
from orchestrator.executors.protocol import Finished, WorkItem
from orchestrator.executors.replica import Replica, ReplicaPlan
from orchestrator.ledger import Ledger
from orchestrator.objective import Resume, Site
from studies.objectives.translation import TranslationObjective
from studies.objectives.translation_worker import TranslationWorker

OBJECTIVE = TranslationObjective()


@pytest.fixture(scope="session")
def m2m100(tmp_path_factory):
    return save_tiny_m2m100(tmp_path_factory.mktemp("translators") / "m2m100")


@pytest.fixture(scope="session")
def marian(tmp_path_factory):
    return save_tiny_marian(tmp_path_factory.mktemp("translators") / "opus-en-fr")


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "cache", "cpu", 1)


def params_of(model, *, language="fr", via=(), rows=20, **changes):
    translator = {"name": str(model), "beams": 1, "batch": 4, "max_tokens": 24}
    params, problems = OBJECTIVE.resolve(
        {
            "rows": rows,
            "shard_size": 10,
            "target": {"language": language, "rephrase_via": list(via)},
            "translator": translator,
            **changes,
        }
    )
    assert problems == []
    return params


def run(params, site, *, shard=1, resume=None):
    return list(TranslationWorker(site).run(params, (shard,), resume))


# -- what a study can say -----------------------------------------------------------------


def test_a_trial_has_a_block_for_each_shard(m2m100):
    assert OBJECTIVE.blocks(params_of(m2m100, rows=20)) == ((0,), (1,))
    params = params_of(m2m100, rows=21)
    assert OBJECTIVE.blocks(params) == ((0,), (1,), (2,))
    assert [OBJECTIVE.units(params, block) for block in OBJECTIVE.blocks(params)] == [10, 10, 1]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"target": {"language": "Frisian"}}, "target.language"),
        ({"target": {"language": "en"}}, "target.language"),
        ({"target": {"language": "fr", "rephrase_via": ["en"]}}, "target.rephrase_via"),
        ({"source_language": "eo"}, "source_language"),
        ({"translator": {"name": "a/b"}}, "translator.revisions.a/b"),
        ({"rows": 0}, "rows"),
        ({"translator": {"beans": 3}}, "translator.beans"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(m2m100, changes, place):
    right = {"target": {"language": "fr"}, "translator": {"name": str(m2m100)}}
    assert [problem.place for problem in OBJECTIVE.resolve({**right, **changes})[1]] == [place]


def identity(site, model, **changes):
    return OBJECTIVE.identity(params_of(model, **changes), site.cache)


def test_what_changes_lines_changes_their_identity(site, m2m100, tmp_path):
    same = identity(site, m2m100)
    assert same == identity(site, m2m100)
    assert same == identity(site, shutil.copytree(m2m100, tmp_path / "a-copy"))
    other = shutil.copytree(m2m100, tmp_path / "another")
    (other / "generation_config.json").write_text("{}")
    for changed in (
        identity(site, other),
        identity(site, m2m100, language="sw"),
        identity(site, m2m100, via=("de",)),
        identity(site, m2m100, rows=19),
        identity(site, m2m100, shard_size=5),
    ):
        assert changed != same


def test_the_pieces_of_a_marian_tokenizer_are_part_of_the_identity(site, marian, tmp_path):
    other = shutil.copytree(marian, tmp_path / "other")
    (other / "target.spm").write_bytes((other / "target.spm").read_bytes() + b"\n")
    assert identity(site, other) != identity(site, marian)


def test_there_is_no_identity_before_the_model_is_here(site, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0" * 40
    params, problems = OBJECTIVE.resolve(
        {
            "target": {"language": "fr"},
            "translator": {
                "name": "somebody/some-model",
                "revisions": {"somebody/some-model": commit},
            },
        }
    )
    assert problems == []
    assert OBJECTIVE.identity(params, site.cache) is None
    with pytest.raises(InputError, match="cannot be had from the hub"):
        OBJECTIVE.prepare(params, site, lambda stage, done, total: None)


# -- the work -----------------------------------------------------------------------------


def test_a_shard_has_a_line_for_each_row_in_the_order_of_the_corpus(site, m2m100):
    *_, last = run(params_of(m2m100), site)
    assert last.attachment is not None
    lines = from_bytes(last.attachment())
    assert [line.id for line in lines] == [e.example_id for e in mini_corpus().examples[10:20]]
    assert all(line.round_trip is not None and 0 <= line.round_trip <= 100 for line in lines)
    assert all(len(line.text) == 1 for line in lines)


def test_each_row_is_recorded_once(site, m2m100):
    segments = run(params_of(m2m100), site)
    assert [segment.position for segment in segments] == [4, 8, 10]
    assert [segment.attachment is None for segment in segments] == [True, True, False]
    records = [record for segment in segments for record in segment.records]
    ids = [e.example_id for e in mini_corpus().examples[10:20]]
    for metric in ("round_trip", "intact", "length_ratio", "rephrased"):
        found = [record for record in records if record.metric == metric]
        assert sorted((r.position, r.item) for r in found) == list(enumerate(ids))
        assert {(r.stream, r.part, r.n) for r in found} == {(1, "fr", 1)}


@pytest.mark.parametrize("n_segments", [1, 2, 3])
def test_a_shard_that_is_taken_up_again_has_the_same_lines(site, m2m100, n_segments):
    params = params_of(m2m100, via=("de",))
    whole = list(_with_states(params, site))
    segment, state = whole[n_segments - 1]
    rest = run(params, site, resume=Resume(segment.position, state))
    assert rest[-1].attachment() == whole[-1][0].attachment()
    again = [record for one, _ in whole[:n_segments] for record in one.records]
    again += [record for one in rest for record in one.records]
    assert again == [record for one, _ in whole for record in one.records]


def _with_states(params, site):
    for segment in TranslationWorker(site).run(params, (1,), None):
        yield segment, segment.state()


def test_through_a_replica_lines_are_the_blocks_attachment(site, m2m100):
    ledger = Ledger(str(site.cache / "ledger"))
    replica = Replica(ReplicaPlan(OBJECTIVE, ledger.uri, site, 0.0))
    params = params_of(m2m100)
    for shard, block in enumerate(("a" * 64, "b" * 64)):
        assert replica.run(WorkItem(block, 0, params, (shard,), 1)) == Finished(block, 1)
    lines = [
        line for block in ("a" * 64, "b" * 64) for line in from_bytes(ledger.attachment(block))
    ]
    assert [line.id for line in lines] == [e.example_id for e in mini_corpus().examples[:20]]
    assert replica.loads == 1
    result = ledger.result("a" * 64)
    expected = sum(line.round_trip for line in lines[:10]) / 1000
    assert result.summaries[0]["round_trip"] == (pytest.approx(expected), 10)
    assert result.summaries[0]["round_trip"] == result.summaries[0]["round_trip/fr"]


def test_without_a_model_back_there_is_no_round_trip(site, marian):
    *_, last = run(params_of(marian), site)
    assert {line.round_trip for line in from_bytes(last.attachment())} == {None}
    assert {record.metric for record in last.records} == {"intact", "length_ratio", "rephrased"}


def test_pairs_are_translated_segment_by_segment(site, m2m100, tmp_path):
    rows = [
        {"pair_id": str(i), "prompt_id": "p", "label": "neutral"}
        | {"premise": "Anna lives in Oslo.", "hypothesis": f"{name} lives."}
        for i, name in enumerate(("Anna", "Berg", "Oslo"))
    ]
    for language in ("en", "fr"):
        (tmp_path / f"test.{language}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = {"name": "xnli", "path": str(tmp_path)}
    [segment] = run(params_of(m2m100, rows=3, dataset=dataset), site, shard=0)
    lines = from_bytes(segment.attachment())
    assert [len(line.text) for line in lines] == [2, 2, 2]
    assert len({line.text[0] for line in lines}) == 1
    assert [line.id for line in lines] == ["0", "1", "2"]


def test_rephrases_of_the_source_are_made_only_where_there_are_none(site, m2m100, monkeypatch):
    own = {e.example_id for e in mini_corpus().examples[10:20] if e.rephrases.get("en")}
    [*_, last] = run(params_of(m2m100, language="en", via=("de",)), site)
    lines = from_bytes(last.attachment())
    assert own
    assert {line.id for line in lines if line.rephrases} <= {line.id for line in lines} - own
    assert [line.text for line in lines] == [e.texts["en"] for e in mini_corpus().examples[10:20]]
    assert {line.round_trip for line in lines} == {None}


def test_a_corpus_with_fewer_rows_is_refused(site, m2m100):
    with pytest.raises(InputError, match="the corpus has"):
        run(params_of(m2m100, rows=100_000), site, shard=0)


def test_an_unknown_language_is_refused_when_it_is_met(site, m2m100):
    with pytest.raises(InputError, match="does not know 'tlh'"):
        run(params_of(m2m100, language="tlh"), site, shard=0)


def test_models_of_another_trial_are_given_back(site, m2m100, marian):
    worker = TranslationWorker(site)
    for model, loads in ((m2m100, 1), (marian, 2), (marian, 2), (m2m100, 3)):
        list(worker.run(params_of(model), (1,), None))
        assert worker.loads == loads
        assert len(worker._translators) == 1
