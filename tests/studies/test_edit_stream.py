"""The objective: what it resolves, and what enters a block's identity."""

import copy
import json
import subprocess
import sys

import pytest

from mpn.data.mini.recipe import base_model_path
from mpn.data.sources import corpus_fingerprint
from studies.objectives.edit_stream import EditStreamObjective
from studies.objectives.edit_stream_hypernetworks import folder_of, recipe_of
from studies.objectives.edit_stream_settings import settings_of

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


@pytest.mark.parametrize(
    ("dataset", "place"),
    [
        ({"name": "xnli"}, "dataset.revision"),  # of the hub, and not pinned
        ({"name": "xnli", "revision": "main"}, "dataset.revision"),
        ({"name": "files"}, "dataset.path"),
        ({"name": "files", "path": "nowhere.jsonl"}, "dataset.path"),
        ({"name": "mini", "labels": ["SUPPORTS"]}, "dataset.labels"),
        ({"name": "xnli", "labels": ["SUPPORTS"]}, "dataset.labels"),
        ({"name": "mini", "edits": "random"}, "dataset.edits"),
        ({"name": "files", "split": "a b"}, "dataset.split"),
        ({"name": "files", "columns": {"claim": "text"}}, "dataset.columns"),
    ],
)
def test_a_data_set_that_cannot_be_read_is_a_problem_of_the_plan(dataset, place):
    _, problems = OBJECTIVE.resolve({"dataset": dataset})
    assert problems[0].place.startswith(place)


def test_a_corpus_of_the_hub_that_is_pinned_is_planned_without_reading_it():
    commit = "0123456789abcdef0123456789abcdef01234567"
    resolved(dataset={"name": "xnli", "revision": commit})
    resolved(dataset={"name": "pawsx", "revision": commit})


def test_planning_does_not_wait_for_datasets(tmp_path):
    (tmp_path / "a.jsonl").write_text("never read as JSON")
    resolve = (
        "import sys; from studies.objectives.edit_stream import EditStreamObjective as E; "
        f"print(E().resolve({{'dataset': {{'name': 'files', 'path': '{tmp_path}/a.jsonl', "
        "'languages': ['en', 'sw']}})[1], 'datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", resolve], capture_output=True, text=True)
    assert done.stdout == "[] False\n", done.stderr


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


def test_without_pairing_it_does_not_matter_how_languages_would_be_chosen(cache):
    def identity(languages, choice):
        pairing = {"languages": languages, "choice": choice}
        return OBJECTIVE.identity(resolved(pairing=pairing), cache)

    assert identity(0, "fixed") == identity(0, "random")
    assert identity(1, "fixed") != identity(1, "random")


def test_the_choice_of_edits_enters_the_identity_and_what_is_done_about_bad_rows_does_not(
    cache, tmp_path
):
    base = OBJECTIVE.identity(resolved(), cache)
    other = resolved(dataset={"edits": "counterfactual"})
    assert OBJECTIVE.identity(other, cache) != base
    rows = tmp_path / "rows.jsonl"
    rows.write_text("any")
    files = {"name": "files", "path": str(rows), "languages": ["en", "sw"]}
    identities = [
        OBJECTIVE.identity(resolved(dataset=files | more), cache)
        for more in ({}, {"bad_rows": "drop"}, {"max_characters": 9}, {"verified": "only"})
    ]
    assert identities[0] == identities[1]
    assert identities[0] not in identities[2:]
    assert "path" not in identities[0]["dataset"]


def test_other_weights_are_another_identity_wherever_they_lie(cache):
    before = OBJECTIVE.identity(resolved(), cache)
    model = base_model_path(cache / "models")
    named = OBJECTIVE.identity(resolved(backbone={"name": str(model)}), cache)
    assert named == before
    (model / "config.json").write_text('{"other": 1}')
    assert OBJECTIVE.identity(resolved(), cache) != before


class TestEditorsThatAreTrained:
    @staticmethod
    def params(training=None, **editor):
        return resolved(editor={"name": "lime", "training": training or {}, **editor})

    @staticmethod
    def trained(params, cache):
        """Make the network of a trial seem to be trained."""
        settings = settings_of(params)
        recipe = recipe_of(settings, corpus_fingerprint(settings.dataset), cache)
        path = recipe.path(folder_of(cache))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        return OBJECTIVE.identity(params, cache)

    def test_before_its_training_a_trial_has_no_identity(self, cache):
        params = self.params()
        assert OBJECTIVE.identity(params, cache) is None
        assert len(self.trained(params, cache)["hypernetwork"]) == 64

    @pytest.mark.parametrize(
        "change", [{"training": {"seed": 1}}, {"training": {"paired": 1}}, {"hidden": 8}]
    )
    def test_its_training_enters_the_identity(self, cache, change):
        base = self.trained(self.params(), cache)
        assert OBJECTIVE.identity(self.params(**change), cache) is None
        other = self.trained(self.params(**change), cache)
        assert other["editor"] != base["editor"]
        assert other["hypernetwork"] != base["hypernetwork"]

    def test_the_version_of_its_training_enters_the_identity(self, cache, monkeypatch):
        base = self.trained(self.params(), cache)
        monkeypatch.setattr("mpn.editors.hypernetworks.store.HYPERNETWORK_VERSION", 0)
        assert self.trained(self.params(), cache) != base

    def test_a_language_that_is_not_there_is_a_problem_of_the_plan(self):
        editor = {"name": "mend", "training": {"languages": ["en", "sw"]}}
        _, problems = OBJECTIVE.resolve({"editor": editor})
        assert [(one.place, one.found) for one in problems] == [("editor.training.languages", "sw")]

    def test_languages_are_drawn_once_an_edit(self):
        settings = settings_of(resolved(editor={"name": "mend"}, pairing={"languages": 2}))
        assert settings.pairing_used.redraw == "per_edit"
        assert settings_of(resolved(pairing={"languages": 2})).pairing_used.redraw == "per_step"

    def test_other_editors_have_no_training_in_their_identity(self, cache):
        assert "hypernetwork" not in OBJECTIVE.identity(resolved(), cache)
