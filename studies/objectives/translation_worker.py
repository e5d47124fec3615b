"""The worker of the translation objective: keeps models warm, and translates shards with them."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import transformers

from mpn.data.corpus import Corpus
from mpn.data.sources import corpus_fingerprint, load_corpus
from mpn.errors import MpnInputError
from mpn.translation.lines import Line, from_bytes, order_of, shard, to_bytes
from mpn.translation.routes import Route, Routes, fetch
from mpn.translation.shards import translate_rows
from mpn.translation.translator import Translator
from orchestrator.objective import Params, Point, Record, Resume, Segment, Site
from studies.objectives.method_errors import input_errors
from studies.objectives.translation_settings import TranslationSettings, settings_of

_CURVES = ("round_trip", "intact")


class TranslationWorker:
    """See :class:`orchestrator.objective.Worker`; keeps the last trial's models warm."""

    def __init__(self, site: Site) -> None:
        """Work at a site."""
        transformers.utils.logging.disable_progress_bar()
        self._site = site
        self._corpus: tuple[str, Corpus] | None = None
        self._translators: dict[Path, Translator] = {}
        self.loads = 0

    def run(
        self, params: Params, streams: Sequence[int], resume: Resume | None
    ) -> Iterator[Segment]:
        """Translate a shard; the state is its lines so far, the attachment all of them."""
        torch.set_num_threads(self._site.threads)
        [number] = streams
        settings = settings_of(params)
        with input_errors():
            corpus = self._loaded_corpus(settings)
            places = shard(settings.rows, settings.shard_size, number)
            rows = corpus.examples[places.start : places.stop]
            routes = settings.routes(fetch(settings.translator))
            self._drop_all_but(routes)
            texts = [row.texts[settings.source_language] for row in rows]
            lines: dict[int, Line] = {}
            if resume is not None:
                lines = dict(zip(order_of(texts), from_bytes(resume.state), strict=False))
            if len(lines) == len(rows):
                yield _segment(lines, len(rows), (), ())
            for batch in translate_rows(
                rows,
                settings.source_language,
                routes,
                self._translator,
                settings.translator,
                done=len(lines),
            ):
                lines |= batch
                records = tuple(
                    Record(number, place, line.id, metric, settings.target.language, value, 1)
                    for place, line in batch
                    for metric, value in line.measured(texts[place]).items()
                )
                points = tuple(_points(number, len(lines), records))
                yield _segment(lines, len(rows), records, points)

    def verify(self) -> None:
        """Models are not trained here, so they stay what they were."""

    def _loaded_corpus(self, settings: TranslationSettings) -> Corpus:
        digest = corpus_fingerprint(settings.corpus)
        if self._corpus is None or self._corpus[0] != digest:
            self._corpus = digest, load_corpus(settings.corpus, self._site.cache / "datasets")
        corpus = self._corpus[1]
        if len(corpus.examples) < settings.rows:
            raise MpnInputError(
                "rows", str(settings.rows), f"the corpus has {len(corpus.examples)} rows"
            )
        return corpus

    def _translator(self, route: Route) -> Translator:
        if route.directory not in self._translators:
            self._translators[route.directory] = Translator(
                route.directory, device=self._site.device
            )
            self.loads += 1
        return self._translators[route.directory]

    def _drop_all_but(self, routes: Routes) -> None:
        """Give the memory of models back that this trial does not need."""
        needed = {route.directory for route in routes}
        for directory in set(self._translators) - needed:
            del self._translators[directory]


def _segment(
    lines: dict[int, Line], total: int, records: tuple[Record, ...], points: tuple[Point, ...]
) -> Segment:
    """Return a segment behind some lines, which are in the order in which they were made."""
    in_order = [lines[place] for place in sorted(lines)]
    attachment = partial(to_bytes, in_order) if len(lines) == total else None
    return Segment(
        len(lines), total, records, points, partial(to_bytes, lines.values()), attachment
    )


def _points(stream: int, step: int, records: Iterable[Record]) -> Iterator[Point]:
    """Reduce the lines of a batch to points of the curves people watch."""
    for metric in _CURVES:
        values = [record.value for record in records if record.metric == metric]
        if values:
            yield Point(stream, metric, step, sum(values) / len(values))
