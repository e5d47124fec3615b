"""The edit-stream objective: one block of streams, edited and measured in all languages."""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mpn.data.sources import CONTENT, corpus_fingerprint, corpus_languages, load_corpus
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.errors import MpnInputError
from mpn.layers import check_layer
from mpn.metrics.summary import EDIT_BY_EDIT, summarise
from mpn.metrics.values import DIRECTIONS, MetricValue
from mpn.model_sources import build_model, check_model, find_model, fingerprint, known_depth
from orchestrator.errors import Problem, location_of, problems_in
from orchestrator.identity import canonical_json
from orchestrator.objective import Params, Record, Site, Worker
from studies.objectives.edit_stream_hypernetworks import is_ready, recipe_of
from studies.objectives.edit_stream_settings import EditStreamSettings, settings_of
from studies.objectives.method_errors import input_errors, problem_of

RESULTS_VERSION = 4
"""To be raised whenever the same parameters give other records."""


class EditStreamObjective:
    """See :class:`orchestrator.objective.Objective`."""

    name = "edit_stream"
    unit = "edits"
    metrics: Mapping[str, str] = DIRECTIONS
    curves: Collection[str] = EDIT_BY_EDIT

    def resolve(self, params: Params) -> tuple[dict[str, object], list[Problem]]:
        """Fill in defaults, and check what can be checked without loading anything."""
        problems: list[Problem] = []
        try:
            settings = EditStreamSettings.model_validate(dict(params))
        except ValidationError as error:
            problems = problems_in(error, EditStreamSettings)
            settings = _without(params, [location_of(details) for details in error.errors()])
        return settings.to_json(), [*problems, *_problems(settings)]

    def blocks(self, params: Params) -> tuple[tuple[int, ...], ...]:
        """Blocks of ``streams.side_by_side`` streams; the last may have fewer."""
        streams = settings_of(params).streams
        numbers = range(streams.count)
        return tuple(
            tuple(numbers[first : first + streams.side_by_side])
            for first in range(0, streams.count, streams.side_by_side)
        )

    def units(self, params: Params, streams: Sequence[int]) -> int:
        """Edits of the streams."""
        return len(streams) * settings_of(params).streams.edits

    def affinity(self, params: Params) -> str:
        """The model, the corpus, and the layer whose queries are kept in memory."""
        settings = settings_of(params)
        return canonical_json({**settings.warm, "layer": settings.editor.reach.layer})

    def identity(self, params: Params, cache: Path) -> Mapping[str, object] | None:
        """Parameters, with model and corpus replaced by their contents.

        Of an editor that is trained, also all that its training stands on. Left out: how many
        streams there are, how they are cut into blocks, and how languages are paired where none
        is.
        """
        settings = settings_of(params)
        corpus_digest = corpus_fingerprint(settings.dataset)
        directory = find_model(settings.backbone, corpus_digest, cache)
        if directory is None:
            return None
        recipe = recipe_of(settings, corpus_digest, cache)
        if not is_ready(recipe, cache):
            return None
        content = settings.to_json()
        content["backbone"] = {
            "fingerprint": fingerprint(directory),
            "max_tokens": settings.backbone.max_tokens,
            "labels": settings.backbone.labels,
        }
        for name in CONTENT:
            del content["dataset"][name]
        content["dataset"]["fingerprint"] = corpus_digest
        for name in ("count", "side_by_side"):
            del content["streams"][name]
        if settings.pairing.languages == 0:
            content["pairing"] = {"languages": 0}
        if recipe is not None:
            content["hypernetwork"] = recipe.identity
        return {"results_version": RESULTS_VERSION, **content}

    def prepare(
        self, params: Params, site: Site, progress: Callable[[str, int, int], None]
    ) -> None:
        """Build or fetch the base model, and train the editor where it has to be."""
        settings = settings_of(params)
        with input_errors():
            digest = corpus_fingerprint(settings.dataset)
            if find_model(settings.backbone, digest, site.cache) is None:
                corpus = load_corpus(settings.dataset, site.cache / "datasets")
                build_model(
                    settings.backbone, corpus, digest, site.cache, progress, origin=site.origin
                )
            if not is_ready(recipe_of(settings, digest, site.cache), site.cache):
                from studies.objectives.edit_stream_workbench import train_editor  # takes seconds

                train_editor(settings, site, progress)

    def open(self, site: Site) -> Worker:
        """Start a worker; it loads the model with its first block."""
        from studies.objectives.edit_stream_worker import EditStreamWorker  # takes seconds

        return EditStreamWorker(site)

    def summarise(
        self, params: Params, records: Sequence[Record]
    ) -> dict[int, dict[str, tuple[float, int]]]:
        """Reduce records with the metrics' own rules."""
        protocol = settings_of(params).streams.protocol
        values: dict[int, list[MetricValue]] = {}
        for record in records:
            values.setdefault(record.stream, []).append(
                MetricValue(
                    record.metric,
                    record.part,
                    protocol,
                    record.value,
                    record.n,
                    record.position,
                    record.item,
                    record.seen,
                )
            )
        return {stream: summarise(found) for stream, found in values.items()}

    def dataset(self, params: Params, cache: Path) -> Mapping[str, str]:
        """Name and digest of the corpus."""
        settings = settings_of(params)
        return {settings.dataset.name: corpus_fingerprint(settings.dataset)}


def _problems(settings: EditStreamSettings) -> Iterator[Problem]:
    """Check languages, paths and names, which need no model."""
    try:
        settings = settings_of(settings.to_json())
    except MpnInputError as error:
        yield problem_of(error)
        return
    for check in (_check_languages, lambda settings: check_model(settings.backbone), _check_layers):
        try:
            check(settings)
        except MpnInputError as error:
            yield problem_of(error)


def _check_languages(settings: EditStreamSettings) -> None:
    languages = corpus_languages(settings.dataset)
    source = settings.streams.source_language
    if source not in languages:
        raise MpnInputError(
            "streams.source_language", source, f"the data set has {' '.join(languages)}"
        )
    targets = sorted(set(languages) - {source})
    settings.pairing.drawn_from(targets, source=source, seed=0, stream=0)
    if isinstance(settings.editor, HypernetworkSettings):
        settings.editor.training.inner_languages([source, *targets])
    corpus_fingerprint(settings.dataset)


def _check_layers(settings: EditStreamSettings) -> None:
    """Refuse layers that the model does not have, where its depth is known by now."""
    layer, layers = (getattr(settings.editor, name, None) for name in ("layer", "layers"))
    numbers = {"editor.layer": layer} if isinstance(layer, int) else {}
    if isinstance(layers, list):
        numbers |= {f"editor.layers[{i}]": number for i, number in enumerate(layers)}
    depth = known_depth(settings.backbone) if numbers else None
    if depth is not None:
        for place, number in numbers.items():
            check_layer(number, depth, place)


def _without(params: Params, wrong: Sequence[tuple[str | int, ...]]) -> EditStreamSettings:
    """Return settings in which defaults stand where values are wrong, to check the others."""
    repaired = copy.deepcopy(dict(params))
    for location in wrong:
        parent: Any = repaired
        for key in location[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent.pop(location[-1], None)
    try:
        return EditStreamSettings.model_validate(repaired)
    except ValidationError:
        return EditStreamSettings()
