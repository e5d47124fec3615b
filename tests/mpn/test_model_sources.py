"""Where base models come from: a folder, or a commit on the hub that is in the local cache."""

import pytest
from tiny_models import save_tiny_model

from mpn.backbones import Backbone
from mpn.errors import MpnInputError
from mpn.model_sources import BackboneSettings, build_model, check_model, find_model, fingerprint

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, tokenizer, monkeypatch):
    """A cache as the hub's client leaves it, with one commit of one model; no network."""
    model = tmp_path / "hub" / "models--someone--tiny-xlmr"
    save_tiny_model("xlm-roberta", model / "snapshots" / COMMIT, tokenizer)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return model


def test_a_name_and_a_commit_are_the_folder_in_the_hubs_cache(hub, tmp_path):
    settings = BackboneSettings(name="someone/tiny-xlmr", revision=COMMIT)
    check_model(settings)
    folder = find_model(settings, "", tmp_path)
    assert folder == hub / "snapshots" / COMMIT
    by_path = find_model(BackboneSettings(name=str(folder)), "", tmp_path)
    assert by_path is not None and fingerprint(by_path) == fingerprint(folder)
    assert Backbone(folder).labels == ("REFUTES", "SUPPORTS")


def test_another_commit_is_not_there_and_without_a_network_that_is_said(hub, tmp_path, corpus):
    settings = BackboneSettings(name="someone/tiny-xlmr", revision=COMMIT[::-1])
    assert find_model(settings, "", tmp_path) is None
    with pytest.raises(MpnInputError) as refused:
        build_model(settings, corpus, "", tmp_path, lambda *_: None)
    assert "'someone/tiny-xlmr' is no folder, and cannot be had from the hub" in str(refused.value)


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:7], COMMIT.upper()])
def test_on_the_hub_only_a_commit_stays_the_same(revision):
    with pytest.raises(MpnInputError) as refused:
        check_model(BackboneSettings(name="someone/tiny-xlmr", revision=revision))
    assert refused.value.place == "backbone.revision"
    assert f"for the hub its revision is {revision}" in str(refused.value)


@pytest.mark.parametrize("name", ["../secret", "a/b/c", "/no/such/folder", "", "~/model", "a//b"])
def test_a_path_without_a_folder_is_no_name_on_the_hub(name):
    with pytest.raises(MpnInputError, match="is no folder, and no name on the hub"):
        check_model(BackboneSettings(name=name, revision=COMMIT))


def test_labels_can_be_named_anew_one_for_each_logit(hub):
    folder = hub / "snapshots" / COMMIT
    assert Backbone(folder, labels=["no", "yes"]).labels == ("no", "yes")
    with pytest.raises(MpnInputError) as refused:
        Backbone(folder, labels=["no", "yes", "perhaps"])
    assert str(refused.value) == (
        "backbone.labels: 3 names (no, yes, perhaps); the model has 2 labels (REFUTES, SUPPORTS); "
        "name each once"
    )
