"""The worker of the edit-stream objective: keeps a model warm, and edits streams on it."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers

from mpn.backbones import Backbone
from mpn.data.sources import corpus_fingerprint, load_corpus
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.memory import MemoryBank
from mpn.metrics.summary import ALONG_THE_STREAM, summarise
from mpn.metrics.values import MetricValue
from mpn.model_sources import build_model, find_model
from mpn.streams import EditStream, StreamState
from mpn.workbench import Workbench
from orchestrator.errors import ReplicaDirtyError
from orchestrator.objective import Params, Point, Record, Resume, Segment, Site
from studies.objectives.edit_stream_settings import EditStreamSettings, settings_of
from studies.objectives.method_errors import input_errors

_CURVES = ("reliability", "cross_lingual_generality", "locality", "edit_retention_so_far")


class EditStreamWorker:
    """See :class:`orchestrator.objective.Worker`; keeps the last model and corpus warm."""

    def __init__(self, site: Site) -> None:
        """Work at a site."""
        transformers.utils.logging.disable_progress_bar()
        self._site = site
        self._key: object = None
        self._bench: Workbench | None = None
        self.loads = 0

    def run(
        self, params: Params, streams: Sequence[int], resume: Resume | None
    ) -> Iterator[Segment]:
        """Edit the streams of a block, one after another."""
        torch.set_num_threads(self._site.threads)
        settings = settings_of(params)
        n_edits = settings.streams.edits
        total = n_edits * len(streams)
        position = resume.position if resume else 0
        with input_errors():
            bench = self._workbench(settings)
            engine = bench.engine(settings.editor.layer, settings.editor.positions, settings.engine)
            memory_settings = settings.editor.memory
            if memory_settings is None:
                memory = MemoryBank.none(bench.backbone.d_model)
            else:
                memory = bench.memory(engine, memory_settings.size, memory_settings.held_out_share)
            for index in range(position // n_edits, len(streams)):
                done_before = index * n_edits
                state = None
                if resume is not None and done_before < position:
                    state = StreamState.from_bytes(resume.state)
                yield from self._run_stream(
                    settings, bench, engine, memory, streams[index], state, done_before, total
                )

    def verify(self) -> None:
        """Check that the base weights are those that were loaded.

        Raises:
            ReplicaDirtyError: If they are not.
        """
        if self._bench is not None and not self._bench.backbone.is_untouched():
            raise ReplicaDirtyError("the weights of the base model changed while it was edited")

    def _run_stream(
        self,
        settings: EditStreamSettings,
        bench: Workbench,
        engine: Any,
        memory: MemoryBank,
        number: int,
        state: StreamState | None,
        done_before: int,
        total: int,
    ) -> Iterator[Segment]:
        stream_settings = settings.streams
        remembered = settings.editor.memory.size if settings.editor.memory else 1
        data = bench.stream_data(
            number,
            stream_settings.edits,
            settings.pairing,
            seed=stream_settings.seed,
            n_remembered=remembered,
        )
        stream = EditStream(
            engine,
            TransformerPatcher(settings.editor, settings.pairing),
            memory,
            data,
            seed=stream_settings.seed,
            stream=number,
        )
        progress = stream.run(
            stream_settings.protocol, batch_size=stream_settings.batch, state=state
        )
        for step in progress:
            yield Segment(
                done_before + step.position,
                total,
                tuple(_record(number, value) for value in step.values),
                tuple(_points(number, step.values)),
                step.state.to_bytes(),
            )

    def _workbench(self, settings: EditStreamSettings) -> Workbench:
        key = (settings.backbone, settings.dataset, settings.streams.source_language)
        if self._bench is None or self._key != key:
            self._bench = None  # give the memory back before more is asked for
            cache = self._site.cache
            digest = corpus_fingerprint(settings.dataset)
            corpus = load_corpus(settings.dataset, cache / "datasets")
            directory = find_model(settings.backbone, digest, cache)
            if directory is None:
                directory = build_model(settings.backbone, corpus, digest, cache, _silent)
            backbone = Backbone(
                directory, device=self._site.device, max_tokens=settings.backbone.max_tokens
            )
            self.loads += 1
            self._bench = Workbench(
                backbone,
                corpus,
                source_language=settings.streams.source_language,
                seed=settings.dataset.seed,
                evaluation_examples=settings.dataset.evaluation_examples,
                neighbours=settings.dataset.neighbours,
                cache=cache / "queries",
            )
            self._key = key
        return self._bench


def _record(stream: int, value: MetricValue) -> Record:
    return Record(
        stream,
        value.position,
        value.edit_id,
        value.metric,
        value.language,
        value.value,
        value.n,
        value.seen,
    )


def _points(stream: int, values: Sequence[MetricValue]) -> Iterator[Point]:
    """Reduce the values at each edit to points of the curves people watch."""
    for position in sorted({value.position for value in values if value.position >= 0}):
        here = [value for value in values if value.position == position]
        headline = {name: value for name, (value, _) in summarise(here).items()}
        headline |= {v.metric: v.value for v in here if v.metric in ALONG_THE_STREAM}
        for metric in _CURVES:
            if metric in headline:
                yield Point(stream, metric, position, headline[metric])


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
