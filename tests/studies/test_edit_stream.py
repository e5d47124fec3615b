"""The objective: what it resolves, and what enters a block's identity."""

import copy
import json

import pytest

from mpn.data.mini.recipe import base_model_path
from studies.objectives.edit_stream import EditStreamObjective

OBJECTIVE = EditStreamObjective()


@pytest.fixture
def cache(tmp_path):
    """A cache in which the embedded base model seems to be trained."""
    model = base_model_path(tmp_path / "models")
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return tmp_path


def resolved(**base):
    params, problems = OBJECTIVE.resolve(base)
    assert problems == []
    return params


def test_what_is_resolved_resolves_to_itself():
    params = resolved(pairing={"languages": 2})
    assert OBJECTIVE.resolve(params) == (params, [])
    assert json.loads(json.dumps(params)) == params


def test_nothing_said_is_plain_transformer_patcher_with_the_references_defaults():
    params = resolved()
    assert params["pairing"]["languages"] == 0
    editor = params["editor"]
    assert (editor["memory"]["weight"], editor["activation"]["weight"]) == (5.0, 1.0)
    assert (editor["memory"]["size"], editor["memory"]["top_k"]) == (40_000, 125)
    assert (editor["optimizer"]["lr"], editor["optimizer"]["max_steps"]) == (0.01, 2000)
    assert (editor["stop"]["min_steps"], editor["stop"]["every"]) == (100, 25)
    assert editor["value_init"] == "noise"


def test_all_that_is_wrong_is_said_at_once():
    params, problems = OBJECTIVE.resolve(
        {
            "streams": {"count": 0, "protocol": "paralel"},
            "pairing": {"languages": 9},
            "editor": {"optimizer": {"lr": "fast"}},
        }
    )
    assert sorted(problem.place for problem in problems) == [
        "editor.optimizer.lr",
        "pairing.languages",
        "streams.count",
        "streams.protocol",
    ]
    assert params["streams"]["count"] == 5  # the default stands in, to check the rest


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    _, problems = OBJECTIVE.resolve({"dataset": {"name": "xnli", "path": "$NOWHERE/xnli"}})
    assert problems[0].place == "dataset.path"
    assert "$NOWHERE/xnli" in problems[0].found


def test_a_block_is_some_streams_side_by_side():
    params = resolved(streams={"count": 5, "edits": 7, "side_by_side": 2})
    assert OBJECTIVE.blocks(params) == ((0, 1), (2, 3), (4,))
    assert OBJECTIVE.units(params, (2, 3)) == 14


def test_before_the_base_model_is_there_nothing_has_an_identity(tmp_path):
    assert OBJECTIVE.identity(resolved(), tmp_path) is None


def test_more_streams_leave_the_identity_alone_and_other_edits_do_not(cache):
    base = OBJECTIVE.identity(resolved(streams={"count": 2}), cache)
    assert OBJECTIVE.identity(resolved(streams={"count": 5}), cache) == base
    assert OBJECTIVE.identity(resolved(streams={"count": 2, "edits": 11}), cache) != base


@pytest.mark.parametrize(
    "path",
    [
        "editor.memory.weight",
        "editor.optimizer.max_steps",
        "pairing.languages",
        "streams.seed",
        "streams.batch",
        "dataset.seed",
        "dataset.evaluation_sample",
        "backbone.max_tokens",
    ],
)
def test_whatever_changes_records_enters_the_identity(cache, path):
    params = resolved()
    changed = copy.deepcopy(params)
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        node = node[parent]
    node[last] += 1
    assert OBJECTIVE.identity(changed, cache) != OBJECTIVE.identity(params, cache)


def test_other_weights_are_another_identity_wherever_they_lie(cache):
    before = OBJECTIVE.identity(resolved(), cache)
    model = base_model_path(cache / "models")
    named = OBJECTIVE.identity(resolved(backbone={"name": str(model)}), cache)
    assert named == before
    (model / "config.json").write_text('{"other": 1}')
    assert OBJECTIVE.identity(resolved(), cache) != before
