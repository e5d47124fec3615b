"""Base models by name: built here, in a folder, or on the hub."""

import functools
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from pydantic import PositiveInt

from mpn.data.corpus import Corpus
from mpn.data.mini.recipe import base_model_path
from mpn.errors import MpnInputError
from mpn.fingerprints import model_fingerprint
from mpn.settings import Settings

BUILT_HERE = ("mini", "scratch")
_FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]
Progress = Callable[[str, int, int], None]


class BackboneSettings(Settings):
    """Which classifier to edit.

    Attributes:
        name: ``mini``, the embedded base model; ``scratch``, a small untrained BERT with a
            tokenizer made from the corpus, for trying things out; a model folder; or a name on
            the Hugging Face hub.
        revision: For the hub: a commit, so that the study stays the same.
        max_tokens: Longer inputs are truncated to this many word pieces.
    """

    name: str = "mini"
    revision: str | None = None
    max_tokens: PositiveInt = 128


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
    elif Path(settings.name).is_dir():
        path = Path(settings.name)
    else:
        try:
            return _snapshot(settings, local_files_only=True)
        except (LocalEntryNotFoundError, OSError):
            return None
    return path if path.is_dir() else None


def build_model(
    settings: BackboneSettings,
    corpus: Corpus,
    corpus_digest: str,
    cache: Path,
    progress: Progress,
) -> Path:
    """Build or fetch a model that :func:`find_model` does not find.

    Raises:
        MpnInputError: If the hub has no such model or cannot be reached.
    """
    # What trains a model imports most of transformers, which takes seconds.
    from mpn.data.mini.base_model import ensure_base_model
    from mpn.data.scratch_model import ensure_scratch_model

    if settings.name == "mini":
        return ensure_base_model(cache / "models", progress=progress)
    if settings.name == "scratch":
        return ensure_scratch_model(_scratch_path(cache, corpus_digest), corpus)
    try:
        progress("download", 0, 1)
        return _snapshot(settings, local_files_only=False)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MpnInputError(
            "backbone.name",
            f"{settings.name!r} is no folder, and cannot be had from the hub "
            f"({str(error).splitlines()[0]})",
            f"give {', '.join(BUILT_HERE)}, a model folder, or a name on the hub",
        ) from error


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


def _snapshot(settings: BackboneSettings, *, local_files_only: bool) -> Path:
    return Path(
        snapshot_download(
            settings.name,
            revision=settings.revision,
            allow_patterns=_FILES,
            local_files_only=local_files_only,
        )
    )
