"""Tiny models of each architecture, saved in the hub's own layout."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny_model
from transformers import AutoTokenizer

from mpn.backbones import Backbone
from mpn.data.corpus import Corpus
from mpn.data.mini.claims import mini_corpus
from mpn.data.scratch_model import ensure_scratch_model
from mpn.queries import QueryCache
from mpn.workbench import Workbench


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return mini_corpus()


@pytest.fixture(scope="session")
def tokenizer(corpus, tmp_path_factory) -> Any:
    made = ensure_scratch_model(tmp_path_factory.mktemp("tokenizer") / "model", corpus)
    return AutoTokenizer.from_pretrained(made)


@pytest.fixture(scope="session", params=["bert", "deberta-v2", "modernbert"])
def architecture(request) -> str:
    """BERT's layers, relative positions, and pre-norm layers with a gated FFN."""
    return request.param


@pytest.fixture(scope="session")
def model_directory(architecture, tokenizer, tmp_path_factory) -> Path:
    return save_tiny_model(architecture, tmp_path_factory.mktemp(architecture), tokenizer)


@pytest.fixture(scope="session")
def backbone(model_directory) -> Backbone:
    """In float64, so that two ways to one number can be compared closely."""
    return Backbone(model_directory, dtype=torch.float64)


@pytest.fixture(scope="session")
def texts(corpus) -> list:
    """Twelve texts of six languages and different lengths."""
    return [
        corpus.examples[i * 37].texts[language] for i in range(2) for language in corpus.languages
    ]


@pytest.fixture(scope="module")
def bench(tokenizer, corpus, tmp_path_factory) -> Workbench:
    """A tiny model and the embedded corpus, ready for edits."""
    folder = tmp_path_factory.mktemp("bench")
    model = save_tiny_model("xlm-roberta", folder / "model", tokenizer)
    return Workbench(
        Backbone(model, dtype=torch.float64),
        corpus,
        source_language="en",
        seed=0,
        evaluation_examples=4,
        evaluation_sample=3,
        neighbours=2,
        cache=QueryCache(folder / "queries"),
    )
