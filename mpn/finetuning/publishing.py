"""A trained classifier as a folder that anybody can load, with the record of how it was made."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpn.data.model_folders import publish_model
from mpn.finetuning.accuracy import most_frequent_share
from mpn.finetuning.recipe import Recipe
from mpn.finetuning.training import Finetuned
from mpn.fingerprints import RECORD


def publish(
    final: Path, recipe: Recipe, finetuned: Finetuned, provenance: Mapping[str, str]
) -> dict[str, Any]:
    """Write a Hugging Face directory with its record, whole or not at all.

    Args:
        final: The folder; must not be there.
        recipe: What was trained.
        finetuned: What came of it.
        provenance: Versions and commit, by name.

    Returns:
        The record, as ``finetuning.json`` has it: the recipe, ``accuracy`` by language,
        ``most_frequent_label`` (the accuracy of always saying that) and ``provenance``.
    """
    record = recipe.to_json() | {
        "accuracy": {one.language: one.to_json() for one in finetuned.accuracies},
        "most_frequent_label": most_frequent_share(recipe.test),
        "provenance": dict(provenance),
    }
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)
    publish_model(final, finetuned.model, finetuned.tokenizer, {RECORD: text + "\n"})
    return record


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of a folder that was made here, or None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record
