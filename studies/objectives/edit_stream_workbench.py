"""From an edit-stream study's settings to a model, and to the workbench on which it is edited."""

from pathlib import Path

from mpn.backbones import Backbone
from mpn.data.corpus import Corpus
from mpn.data.sources import corpus_fingerprint, load_corpus
from mpn.editors.hypernetworks.store import Watch
from mpn.editors.hypernetworks.training import TrainingState
from mpn.model_sources import BackboneSettings, Progress, build_model, find_model
from mpn.queries import QueryCache
from mpn.workbench import Workbench
from orchestrator.objective import Site
from studies.objectives.edit_stream_hypernetworks import ensure_network, recipe_of
from studies.objectives.edit_stream_settings import EditStreamSettings


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


def corpus_of(settings: EditStreamSettings, site: Site) -> Corpus:
    """Load a study's corpus."""
    return load_corpus(settings.dataset, site.cache / "datasets")


def backbone_of(
    settings: EditStreamSettings, corpus: Corpus, site: Site, progress: Progress = _silent
) -> Backbone:
    """Load a study's model, after building or fetching it if need be."""
    digest = corpus_fingerprint(settings.dataset)
    directory = find_model(settings.backbone, digest, site.cache)
    if directory is None:
        directory = build_model(
            settings.backbone, corpus, digest, site.cache, progress, origin=site.origin
        )
    return open_backbone(settings.backbone, directory, site)


def open_backbone(settings: BackboneSettings, directory: Path, site: Site) -> Backbone:
    """Load the model in a folder, as a study asks for it."""
    return Backbone(
        directory, device=site.device, max_tokens=settings.max_tokens, labels=settings.labels
    )


def workbench_of(
    settings: EditStreamSettings, backbone: Backbone, corpus: Corpus, site: Site
) -> Workbench:
    """Make a model and a corpus ready for edits."""
    dataset = settings.dataset
    return Workbench(
        backbone,
        corpus,
        source_language=settings.streams.source_language,
        seed=dataset.seed,
        evaluation_examples=dataset.evaluation_examples,
        evaluation_sample=dataset.evaluation_sample,
        neighbours=dataset.neighbours,
        edits=dataset.edits,
        cache=query_cache(settings, site),
    )


def train_editor(
    settings: EditStreamSettings,
    site: Site,
    progress: Progress,
    watch: Watch = lambda state: True,
) -> TrainingState | None:
    """Train a study's hypernetwork, or read it; the model is there.

    Args:
        settings: The study's, whose editor has one.
        site: Where.
        progress: Hears how far it is.
        watch: Hears of every step, and says whether to go on.

    Returns:
        Its last state; None if it was asked to stop.
    """
    recipe = recipe_of(settings, corpus_fingerprint(settings.dataset), site.cache)
    assert recipe is not None, "the study has a hypernetwork, and a model"
    total = recipe.settings.training.optimizer.max_steps

    def bench() -> Workbench:
        corpus = corpus_of(settings, site)
        return workbench_of(settings, backbone_of(settings, corpus, site), corpus, site)

    def watch_and_tell(state: TrainingState) -> bool:
        progress(f"training {settings.editor.name}", state.step, total)
        return watch(state)

    return ensure_network(recipe, site, bench, watch_and_tell)


def query_cache(settings: EditStreamSettings, site: Site) -> QueryCache:
    """Open the cache of FFN inputs."""
    return QueryCache(
        site.cache / "queries", storage=settings.query_storage, limit_gib=site.cache_gib
    )
