"""Models that studies of the command line edit."""

import os
from pathlib import Path

import pytest
from filelock import FileLock
from tiny_models import save_tiny_model
from transformers import AutoTokenizer

from mpn.data.mini.base_model import ensure_base_model
from mpn.data.mini.claims import mini_corpus
from mpn.data.scratch_model import ensure_scratch_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    corpus = mini_corpus()
    folder = tmp_path_factory.mktemp("tiny")
    made = ensure_scratch_model(folder / "scratch", corpus)
    tokenizer = AutoTokenizer.from_pretrained(made)
    return save_tiny_model("xlm-roberta", folder / "model", tokenizer)


@pytest.fixture(scope="session")
def mini_models(tmp_path_factory) -> Path:
    """Where the base model of the embedded corpus is, trained once for all who test.

    What a home keeps in ``cache/models``.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "mini-models"
    with FileLock(f"{folder}.lock"):
        ensure_base_model(folder)
    return folder
