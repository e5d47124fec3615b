"""Hashes of what an experiment stands on: model directories and lists of texts."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from mpn.edits import Text

RECORD = "finetuning.json"
"""How a model was made, which says nothing of what it is."""

_MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.spm", "*.txt")


def model_fingerprint(directory: Path) -> str:
    """Hash the configuration, weights and tokenizer of a model directory.

    Args:
        directory: A Hugging Face model directory. Its files count with their names and
            contents, not with their times.

    Returns:
        64 hex digits.
    """
    files = {path for pattern in _MODEL_FILES for path in directory.glob(pattern)}
    total = hashlib.sha256()
    for path in sorted(files - {directory / RECORD}):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name}\0{digest}\n".encode())
    return total.hexdigest()


def texts_fingerprint(texts: Sequence[Text]) -> str:
    """Hash a list of texts, in order; 64 hex digits."""
    return hashlib.sha256(json.dumps([list(text) for text in texts]).encode()).hexdigest()
