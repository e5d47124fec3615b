"""The translation objective: one block is a shard of a corpus, translated to one language."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from mpn.data.sources import corpus_fingerprint
from mpn.errors import MpnInputError
from mpn.languages import check_language
from mpn.model_sources import fingerprint
from mpn.translation.lines import shard
from mpn.translation.routes import ModelMissingError, check_names, fetch, find
from orchestrator.errors import Problem, problems_in
from orchestrator.identity import canonical_json
from orchestrator.objective import Params, Record, Site, Worker
from studies.objectives.method_errors import input_errors, problem_of
from studies.objectives.translation_settings import TranslationSettings, settings_of

RESULTS_VERSION = 1
"""To be raised whenever the same parameters give other lines."""


class TranslationObjective:
    """See :class:`orchestrator.objective.Objective`; the lines are a block's attachment."""

    name = "translation"
    unit = "lines"
    metrics: Mapping[str, str] = {
        "round_trip": "maximize",
        "intact": "maximize",
        "rephrased": "maximize",
    }
    curves: Collection[str] = ()

    def resolve(self, params: Params) -> tuple[dict[str, object], list[Problem]]:
        """Fill in defaults, and check what can be checked without loading anything."""
        try:
            settings = settings_of(params)
        except ValidationError as error:
            return dict(params), problems_in(error, TranslationSettings)
        return settings.to_json(), list(_problems(settings))

    def blocks(self, params: Params) -> tuple[tuple[int, ...], ...]:
        """A block for each shard."""
        settings = settings_of(params)
        return tuple((n,) for n in range(math.ceil(settings.rows / settings.shard_size)))

    def units(self, params: Params, streams: Sequence[int]) -> int:
        """Rows of the shards."""
        settings = settings_of(params)
        return sum(len(shard(settings.rows, settings.shard_size, number)) for number in streams)

    def affinity(self, params: Params) -> str:
        """The models into and out of a language."""
        settings = settings_of(params)
        content = {"translator": settings.translator.model_dump(mode="json")}
        return canonical_json({**content, "target": settings.target.model_dump(mode="json")})

    def identity(self, params: Params, cache: Path) -> Mapping[str, object] | None:
        """Parameters, with models and corpus replaced by their contents."""
        settings = settings_of(params)
        try:
            routes = settings.routes(find(settings.translator))
        except (ModelMissingError, MpnInputError):
            return None  # ``prepare`` fetches it, or says what is wrong
        content = settings.to_json()
        content["dataset"] = {"fingerprint": corpus_fingerprint(settings.corpus)}
        for name in ("name", "back", "revisions"):
            del content["translator"][name]
        content["models"] = [
            [route.source, route.target, fingerprint(route.directory)] for route in routes
        ]
        return {"results_version": RESULTS_VERSION, **content}

    def prepare(
        self, params: Params, site: Site, progress: Callable[[str, int, int], None]
    ) -> None:
        """Fetch the models."""
        settings = settings_of(params)
        with input_errors():
            progress("download", 0, 1)
            settings.routes(fetch(settings.translator))

    def open(self, site: Site) -> Worker:
        """Start a worker; it loads models with its first block."""
        from studies.objectives.translation_worker import TranslationWorker  # takes seconds

        return TranslationWorker(site)

    def summarise(
        self, params: Params, records: Sequence[Record]
    ) -> dict[int, dict[str, tuple[float, int]]]:
        """Return the mean over lines of each metric."""
        values: dict[int, dict[str, list[float]]] = {}
        for record in records:
            stream = values.setdefault(record.stream, {})
            for name in (record.metric, f"{record.metric}/{record.part}"):
                stream.setdefault(name, []).append(record.value)
        return {
            stream: {name: (math.fsum(v) / len(v), len(v)) for name, v in found.items()}
            for stream, found in values.items()
        }

    def dataset(self, params: Params, cache: Path) -> Mapping[str, str]:
        """Name and digest of the corpus."""
        settings = settings_of(params)
        return {settings.dataset.name: corpus_fingerprint(settings.corpus)}


def _problems(settings: TranslationSettings) -> Iterator[Problem]:
    """Check languages, names and paths, which need no model."""
    source, target = settings.source_language, settings.target

    def languages() -> None:
        check_language(target.language, place="target.language")
        for via in target.rephrase_via:
            check_language(via, place="target.rephrase_via")
        if target.language == source and not target.rephrase_via:
            raise MpnInputError(
                "target.language",
                f"{source} is the source language, and there is nothing to rephrase via",
                "name another language, or languages in target.rephrase_via",
            )
        if source in target.rephrase_via:
            raise MpnInputError(
                "target.rephrase_via", f"{source} is the source language", "name others"
            )

    def corpus() -> None:
        try:
            corpus_fingerprint(settings.corpus)
        except MpnInputError as error:
            is_language = error.place == "dataset.languages"  # which are the source language here
            place = "source_language" if is_language else error.place
            raise MpnInputError(place, error.found, error.wanted) from error

    def models() -> None:
        check_names(
            settings.translator, source=source, target=target.language, via=target.rephrase_via
        )

    for check in (languages, corpus, models):
        try:
            check()
        except MpnInputError as error:
            yield problem_of(error)
