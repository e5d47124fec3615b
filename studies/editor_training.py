"""What `mpn train-editor` does: train every hypernetwork that the trials of a study need."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mpn.data.sources import corpus_fingerprint
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.hypernetworks.training import TrainingState
from orchestrator.home import Home
from orchestrator.objective import Site
from orchestrator.plan import expand
from orchestrator.spec import StudySpec
from orchestrator.surroundings import StopRequest
from studies.objectives.edit_stream import EditStreamObjective
from studies.objectives.edit_stream_hypernetworks import folder_of, is_ready, recipe_of
from studies.objectives.edit_stream_settings import EditStreamSettings, settings_of
from studies.objectives.edit_stream_workbench import backbone_of, corpus_of, train_editor
from studies.objectives.method_errors import input_errors
from studies.pools import n_gpus
from studies.progress import StageProgress


@dataclass(frozen=True)
class TrainedEditor:
    """One hypernetwork.

    Attributes:
        name: The editor's.
        path: Its file; it is there once it is whole.
        steps: Taken, of ``total``.
        total: Steps to take.
        losses: Edit and locality, and the share of open gates: means over the last steps.
        took_s: Seconds that it took now; None: it was there.
        whole: Whether it is trained to the end.
    """

    name: str
    path: Path
    steps: int
    total: int
    losses: tuple[float, ...]
    took_s: float | None
    whole: bool


def settings_to_train(spec: StudySpec) -> list[EditStreamSettings]:
    """Return the settings of a study's trials whose editors are trained, one of each editor."""
    objective = EditStreamObjective()
    if spec.objective != objective.name:
        return []
    found: dict[str, EditStreamSettings] = {}
    for trial in expand(spec, objective):
        settings = settings_of(trial.params)
        if isinstance(settings.editor, HypernetworkSettings):
            trained_on = {"backbone", "dataset", "editor"}
            key = settings.model_dump_json(include=trained_on) + settings.streams.source_language
            found.setdefault(key, settings)
    return list(found.values())


def train_editors(
    spec: StudySpec, home: Home, progress: StageProgress, stop: StopRequest
) -> Iterator[TrainedEditor]:
    """Train what a study needs, one after another; what is there is read.

    Args:
        spec: The study.
        home: Where networks are kept.
        progress: Shows how far it is.
        stop: Ends it at the next step.

    Yields:
        Each network as it is done; one that was stopped is the last.

    Raises:
        InputError: If one cannot be trained as asked.
    """
    site = Site(
        home.make().cache.resolve(),
        "cuda" if n_gpus() else "cpu",
        spec.resources.threads,
        spec.resources.cache_gib,
    )
    for settings in settings_to_train(spec):
        with input_errors():
            backbone_of(settings, corpus_of(settings, site), site, progress.stage)
            yield (one := _train(settings, site, progress, stop))
        if not one.whole:
            return


def _train(
    settings: EditStreamSettings, site: Site, progress: StageProgress, stop: StopRequest
) -> TrainedEditor:
    recipe = recipe_of(settings, corpus_fingerprint(settings.dataset), site.cache)
    assert recipe is not None, "its model was built, and it has a network"
    total = recipe.settings.training.optimizer.max_steps
    was_there, last = is_ready(recipe, site.cache), None

    def watch(state: TrainingState) -> bool:
        nonlocal last
        last = state
        edit, locality, _ = state.losses.tolist()
        remark = f"edit {edit:.3f}, locality {locality:.4f}"
        progress.stage(f"training {settings.editor.name}", state.step, total, remark)
        return not stop.asked

    start_s = time.monotonic()
    done = train_editor(settings, site, lambda *_: None, watch)
    state = done or last
    assert state is not None, "a training begins with a state"
    return TrainedEditor(
        settings.editor.name,
        recipe.path(folder_of(site.cache)),
        state.step,
        total,
        tuple(state.losses.tolist()),
        None if was_there else time.monotonic() - start_s,
        done is not None,
    )
