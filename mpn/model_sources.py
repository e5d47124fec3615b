"""Base models by name: built here, in a folder, or on the hub."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

from pydantic import PositiveInt

from mpn.data.corpus import Corpus
from mpn.data.mini.recipe import MiniRecipe, base_model_path
from mpn.fingerprints import model_fingerprint
from mpn.pretrained import check_pinned, fetch, find
from mpn.settings import Settings

BUILT_HERE = ("mini", "scratch")
_CHOICES = f"{', '.join(BUILT_HERE)}, a model folder, or a name on the hub"
Progress = Callable[[str, int, int], None]


class BackboneSettings(Settings):
    """Which classifier to edit.

    Attributes:
        name: ``mini``, the embedded base model; ``scratch``, a small untrained BERT with a
            tokenizer made from the corpus, for trying things out; a model folder; or a name on
            the Hugging Face hub.
        revision: For the hub: a commit, so that the study stays the same; branches move.
        max_tokens: Longer inputs are truncated to this many word pieces.
        labels: The model's label names in the order of its logits, where its configuration does
            not name them as the data set does.
    """

    name: str = "mini"
    revision: str | None = None
    max_tokens: PositiveInt = 128
    labels: list[str] | None = None


def check_model(settings: BackboneSettings) -> None:
    """Refuse what names neither a model made here, nor a folder, nor a commit on the hub.

    Raises:
        MpnInputError: Then.
    """
    if settings.name not in BUILT_HERE:
        check_pinned(
            settings.name,
            settings.revision,
            places=("backbone.name", "backbone.revision"),
            choices=_CHOICES,
        )


def known_depth(settings: BackboneSettings) -> int | None:
    """Return how many layers a model has, where that is known before it is loaded or built."""
    if settings.name == "mini":
        return MiniRecipe().n_layers
    directory = None if settings.name == "scratch" else find(settings.name, settings.revision)
    if directory is None:
        return None
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        depth = config.get("num_hidden_layers", config.get("n_layers"))
    except (OSError, ValueError, AttributeError):  # which is said when it is loaded
        return None
    return depth if isinstance(depth, int) else None


def find_model(settings: BackboneSettings, corpus_digest: str, cache: Path) -> Path | None:
    """Return the model's folder if it is on this machine.

    Args:
        settings: The model.
        corpus_digest: Fingerprint of the corpus that a scratch model would be made from.
        cache: The home's cache.
    """
    if settings.name == "mini":
        path = base_model_path(cache / "models")
    elif settings.name == "scratch":
        path = _scratch_path(cache, corpus_digest)
    else:
        return find(settings.name, settings.revision)
    return path if path.is_dir() else None


def build_model(
    settings: BackboneSettings,
    corpus: Corpus,
    corpus_digest: str,
    cache: Path,
    progress: Progress,
    *,
    origin: Path | None = None,
) -> Path:
    """Build or fetch a model that :func:`find_model` does not find.

    Of several processes on one machine that ask for it at once, one builds, copies or fetches
    it, and the others wait.

    Args:
        settings: The model.
        corpus: What a model that is made here is made from.
        corpus_digest: The corpus's fingerprint.
        cache: Where models that are made here are kept.
        progress: Told how far it is.
        origin: Another cache that may hold it already: copied from there, it is the same to the
            byte, whatever machine it was made on.

    Raises:
        MpnInputError: If the hub has no such model or cannot be reached.
    """
    # What trains a model imports most of transformers, which takes seconds.
    from mpn.data.mini.base_model import ensure_base_model
    from mpn.data.model_folders import built_once
    from mpn.data.scratch_model import ensure_scratch_model

    if settings.name == "mini":
        return built_once(
            base_model_path(cache / "models"),
            lambda: ensure_base_model(cache / "models", progress=progress),
            origin=origin and base_model_path(origin / "models"),
        )
    if settings.name == "scratch":
        return built_once(
            _scratch_path(cache, corpus_digest),
            lambda: ensure_scratch_model(_scratch_path(cache, corpus_digest), corpus),
            origin=origin and _scratch_path(origin, corpus_digest),
        )
    progress("download", 0, 1)
    return fetch(settings.name, settings.revision, place="backbone.name", choices=_CHOICES)


def fingerprint(directory: Path) -> str:
    """Return a folder's fingerprint, computed again only if a file changed."""
    stamps = tuple(
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(directory.iterdir())
        if path.is_file()
    )
    return _fingerprint(directory, stamps)


@functools.lru_cache(maxsize=64)
def _fingerprint(directory: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    return model_fingerprint(directory)


def _scratch_path(cache: Path, corpus_digest: str) -> Path:
    return cache / "models" / f"scratch-{corpus_digest[:12]}"
