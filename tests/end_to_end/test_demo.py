"""The quickstart study, whole: what the README says of it holds."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from command_line import CommandLine
from tiny_models import random_patches

from mpn.backbones import Backbone
from mpn.data.mini.claims import mini_corpus
from mpn.engines.opening import open_engine
from mpn.queries import QueryCache

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def demo(mini_models, tmp_path_factory):
    mpn = CommandLine(tmp_path_factory.mktemp("demo"))
    shutil.copytree(mini_models, mpn.home / "cache" / "models")
    mpn.run("run", "quickstart")
    return mpn


@pytest.fixture(scope="module")
def rows(demo):
    rows = demo.json("table", "quickstart", "--format", "json")
    return {
        (row["params"]["pairing.languages"], row["params"]["editor.memory.weight"]): row
        for row in rows
    }


def test_two_paired_languages_beat_none(rows):
    gain = rows[2, 0.2]["difference"]
    assert gain["cross_lingual_generality"]["mean"] >= 0.08
    assert gain["cross_lingual_generality"]["low"] > 0
    assert gain["cross_lingual_rephrase"]["mean"] >= 0.04
    assert gain["cross_lingual_rephrase"]["low"] > 0


def test_edits_succeed_and_stay_local(rows):
    assert rows[0, 0.2]["metrics"]["reliability"]["mean"] >= 0.95
    for n in (0, 1, 2, 5):
        assert rows[n, 0.2]["metrics"]["locality"]["mean"] >= 0.97
        assert rows[n, 0.2]["metrics"]["locality"]["n"] == 5


def test_each_actor_loads_the_model_once_whatever_the_number_of_trials(demo):
    last_run = demo.json("status", "quickstart", "--json")["last_run"]
    assert last_run["model_loads"] == last_run["actors"] == min(os.cpu_count(), 8)
    assert last_run["blocks_executed"] == 8  # five streams side by side are one


def test_cached_logits_of_the_real_base_model_equal_the_full_models(demo, tmp_path):
    model = next(Path(demo.home).glob("cache/models/mini-*"))
    backbone = Backbone(model)
    texts = [t for e in mini_corpus().examples[:200:7] for t in e.texts.values()]
    patches = random_patches(2, 1, backbone.d_model, dtype=torch.float32)
    for layer in range(backbone.n_layers):
        fast, slow = (
            engine.logits(engine.load(texts), patches)
            for engine in (
                open_engine(name, backbone, layer=layer, cache=QueryCache(tmp_path))
                for name in ("cached", "full")
            )
        )
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)


@pytest.mark.real
@pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set")
def test_real_xnli_rows_are_edited_in_fifteen_languages(tmp_path):
    mpn = CommandLine(tmp_path / "home")
    mpn("run", "xnli_smoke", "--executor", "inline")
    rows = mpn.json("table", "xnli_smoke", "--format", "json")
    assert [row["metrics"]["reliability"]["mean"] for row in rows] == [1.0, 1.0, 1.0]
    languages = {n.split("/")[1] for n in rows[0]["metrics"] if n.startswith("locality/")}
    assert len(languages) == 15
