"""What `mpn edit` does: a study's model and data, one wish, one answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import transformers

from mpn.backbones import Backbone
from mpn.by_hand import HandOutcome, SideEffects, edit_by_hand, side_effects, without
from mpn.data.corpus import Corpus
from mpn.data.labels import label_key
from mpn.edited_models import SavedEdit, export_edited
from mpn.editors.settings import TransformerPatcherSettings
from mpn.edits import ParallelEdit, ParallelExample, Text
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.languages import check_language
from mpn.memory import MemoryBank
from mpn.metrics.audience import Panel
from mpn.model_sources import Progress
from orchestrator.errors import suggestion
from orchestrator.home import Home
from orchestrator.objective import Params, Site
from studies.objectives.edit_stream_settings import EditStreamSettings, settings_of
from studies.objectives.edit_stream_workbench import (
    backbone_of,
    corpus_of,
    query_cache,
    workbench_of,
)
from studies.objectives.method_errors import input_errors
from studies.pools import n_gpus


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        label: What the model shall say.
        texts: By language, the source first; empty where a row is named.
        row: Id of an example of the data.
        pair: Languages to train on beside the source: a list with commas, ``all`` or ``none``.
        data: Whether the study's data is used.
    """

    label: str
    texts: Mapping[str, Text]
    row: str | None
    pair: str
    data: bool


@dataclass(frozen=True)
class Answered:
    """What came of it.

    Attributes:
        about: A line for people.
        model: The base model's folder.
        labels: Names of the labels.
        label: The desired one, by its number.
        outcome: The edit.
        effects: None without data.
    """

    about: str
    model: str
    labels: tuple[str, ...]
    label: int
    outcome: HandOutcome
    effects: SideEffects | None

    def said(self, probabilities: tuple[float, ...]) -> str:
        """Return the most probable label, with its probability."""
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        return f"{self.labels[best]} {100 * probabilities[best]:.0f} %"

    def to_json(self) -> dict[str, Any]:
        """Return everything but the neurons, for programs."""
        return {
            "model": self.model,
            "labels": self.labels,
            "label": self.labels[self.label],
            "steps": self.outcome.effort.steps,
            "answers": [asdict(answer) for answer in self.outcome.answers],
            "side_effects": None if self.effects is None else asdict(self.effects),
        }


def answer(
    params: Params,
    wish: Wish,
    home: Home,
    progress: Progress,
    *,
    out: Path,
    export: Path | None,
) -> Answered:
    """Make an edit, save it, and say what it did.

    Args:
        params: A study's resolved base.
        wish: What is asked for.
        home: Where models and caches are.
        progress: Told how far the base model is, if it has to be built.
        out: Where the patch goes.
        export: Where the edited model goes as a checkpoint, if anywhere.

    Raises:
        InputError: If the wish does not fit the model or the data; nothing is written then.
    """
    home.make()
    transformers.utils.logging.disable_progress_bar()
    settings = settings_of(params)
    site = Site(home.cache.resolve(), "cuda" if n_gpus() else "cpu", 1)
    with input_errors("the command", "Nothing was edited."):
        corpus = corpus_of(settings, site)
        backbone = backbone_of(settings, corpus, site, progress)
        edit = _parallel_edit(wish, settings, corpus, backbone)
        paired = _paired(wish.pair, edit)
        editor = _patcher(settings)
        engine, memory, panel = _prepared(settings, wish, backbone, corpus, edit, site)
        if not wish.data:
            editor = editor.model_copy(update={"memory": None})
        outcome = edit_by_hand(engine, edit, paired, memory, editor)
        text = " / ".join(edit.request(edit.source_language).text)
        about = f"{text}: {backbone.labels[edit.label]}"
        saved = SavedEdit.of(backbone, engine.layer, outcome.patches, {"edit": about})
        if export is not None:
            export_edited(backbone.directory, saved, export)
        saved.save(out)
    effects = None if panel is None else side_effects(engine, panel, outcome.patches)
    model = str(backbone.directory)
    return Answered(about, model, backbone.labels, edit.label, outcome, effects)


def _parallel_edit(
    wish: Wish, settings: EditStreamSettings, corpus: Corpus, backbone: Backbone
) -> ParallelEdit:
    """Turn a wish into an edit; its label is counted as the model does."""
    labels = [label_key(name) for name in backbone.labels]
    if label_key(wish.label) not in labels:
        raise MpnInputError(
            "--label", repr(wish.label), suggestion(wish.label, backbone.labels, "The model's")
        )
    label = labels.index(label_key(wish.label))
    if wish.row is None:
        for language in wish.texts:
            check_language(language, place="--text")
        example = ParallelExample("by hand", "by hand", label, dict(wish.texts))
        return ParallelEdit("by hand", label, next(iter(wish.texts)), example)
    found = [example for example in corpus.examples if example.example_id == wish.row]
    if not found:
        raise MpnInputError(
            "--row",
            repr(wish.row),
            f"{corpus.name} has {len(corpus.examples)} rows, "
            f"{corpus.examples[0].example_id!r} first",
        )
    return ParallelEdit(wish.row, label, settings.streams.source_language, found[0])


def _paired(pair: str, edit: ParallelEdit) -> list[str]:
    others = [language for language in edit.example.texts if language != edit.source_language]
    if pair in ("all", "none"):
        return others if pair == "all" else []
    paired = pair.split(",")
    unknown = sorted(set(paired) - set(others))
    if unknown:
        raise MpnInputError(
            "--pair",
            f"{', '.join(unknown)} cannot be paired",
            f"beside the source there are {', '.join(others) or 'no texts'}",
        )
    return paired


def _patcher(settings: EditStreamSettings) -> TransformerPatcherSettings:
    """Return the editor, which must be the one whose edits can be saved."""
    editor = settings.editor
    if not isinstance(editor, TransformerPatcherSettings):
        raise MpnInputError(
            "editor.name",
            f"{editor.name}, of which no edit can be saved",
            f"write {TransformerPatcherSettings().name}",
        )
    return editor


def _prepared(
    settings: EditStreamSettings,
    wish: Wish,
    backbone: Backbone,
    corpus: Corpus,
    edit: ParallelEdit,
    site: Site,
) -> tuple[Any, MemoryBank, Panel | None]:
    """Open the site, with a memory and held-out texts that the edit is not about."""
    editor = _patcher(settings)
    layer = backbone.layer_index(editor.layer)
    if editor.positions == "cls" and not backbone.reads_cls_only(layer):
        raise MpnInputError(
            "editor.positions",
            f"cls at layer {layer}",
            "write all: a saved edit is neurons of the layer, which act at every position",
        )
    if wish.data:
        bench = workbench_of(settings, backbone, without(corpus, edit), site)
        engine = bench.engine(editor.layer, editor.positions, settings.engine_used)
        return engine, bench.memory(engine, editor.remembers), bench.evaluation_at(engine)
    backbone.verify_split(list(edit.example.texts.values()), layer)
    engine = open_engine(
        settings.engine_used,
        backbone,
        layer=layer,
        positions=editor.positions,
        cache=query_cache(settings, site),
    )
    return engine, MemoryBank.none(backbone.d_model), None
