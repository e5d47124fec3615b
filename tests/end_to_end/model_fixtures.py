"""A tiny model that studies of the command line edit."""

from pathlib import Path

import pytest
from tiny_models import save_tiny_model
from transformers import AutoTokenizer

from mpn.data.mini.claims import mini_corpus
from mpn.data.scratch_model import ensure_scratch_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    corpus = mini_corpus()
    folder = tmp_path_factory.mktemp("tiny")
    made = ensure_scratch_model(folder / "scratch", corpus)
    tokenizer = AutoTokenizer.from_pretrained(made)
    return save_tiny_model("xlm-roberta", folder / "model", tokenizer)
