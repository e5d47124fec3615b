"""The trained networks of an edit-stream study: which it needs, and where they are."""

from collections.abc import Callable
from pathlib import Path

import torch

from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.hypernetworks.store import Recipe, Watch, ensure_trained, is_trained
from mpn.editors.hypernetworks.training import TrainingState
from mpn.model_sources import find_model, fingerprint
from mpn.workbench import Workbench
from orchestrator.objective import Site
from studies.objectives.edit_stream_settings import EditStreamSettings


def folder_of(cache: Path) -> Path:
    """Return where the networks of a home are kept."""
    return cache / "hypernetworks"


def recipe_of(settings: EditStreamSettings, corpus_digest: str, cache: Path) -> Recipe | None:
    """Return the network that a study's editor needs; None if it needs none, or has no model yet.

    Args:
        settings: The study's.
        corpus_digest: Fingerprint of its corpus.
        cache: The home's cache.
    """
    if not isinstance(settings.editor, HypernetworkSettings):
        return None
    directory = find_model(settings.backbone, corpus_digest, cache)
    if directory is None:
        return None
    labels = settings.backbone.labels
    return Recipe(
        settings=settings.editor,
        model=fingerprint(directory),
        max_tokens=settings.backbone.max_tokens,
        labels=None if labels is None else tuple(labels),
        corpus=corpus_digest,
        source_language=settings.streams.source_language,
        seed=settings.dataset.seed,
    )


def is_ready(recipe: Recipe | None, cache: Path) -> bool:
    """Return whether nothing is left to train."""
    return recipe is None or is_trained(folder_of(cache), recipe)


def ensure_network(
    recipe: Recipe, site: Site, bench: Callable[[], Workbench], watch: Watch = lambda state: True
) -> TrainingState | None:
    """Train the network of a recipe, or read it.

    Args:
        recipe: Which.
        site: Where.
        bench: Opens the study's model and corpus, where that is needed.
        watch: Hears of every step, and says whether to go on.

    Returns:
        Its last state; None if it was asked to stop.
    """
    torch.set_num_threads(site.threads)
    return ensure_trained(
        folder_of(site.cache), recipe, lambda: bench().lessons(recipe.settings), watch
    )


def network_of(recipe: Recipe | None, site: Site, bench: Workbench) -> Hypernetwork | None:
    """Return the network that an editor is opened with."""
    if recipe is None:
        return None
    state = ensure_network(recipe, site, lambda: bench)
    assert state is not None, "nobody asks it to stop"
    return state.network
