"""The worker of the edit-stream objective: keeps a model warm, and edits streams on it."""

from collections.abc import Iterator, Sequence

import torch
import transformers

from mpn.data.sources import corpus_fingerprint
from mpn.editors.opening import open_editor
from mpn.metrics.summary import ALONG_THE_STREAM, EDIT_BY_EDIT, summarise
from mpn.metrics.values import MetricValue
from mpn.streams.edit_streams import EditStreams
from mpn.streams.state import StreamsState
from mpn.workbench import Workbench
from orchestrator.errors import ReplicaDirtyError
from orchestrator.objective import Params, Point, Record, Resume, Segment, Site
from studies.objectives.edit_stream_hypernetworks import network_of, recipe_of
from studies.objectives.edit_stream_settings import EditStreamSettings, settings_of
from studies.objectives.edit_stream_workbench import backbone_of, corpus_of, workbench_of
from studies.objectives.method_errors import input_errors

_CURVES = (*EDIT_BY_EDIT, *sorted(ALONG_THE_STREAM))


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
        """Edit the streams of a block, side by side."""
        torch.set_num_threads(self._site.threads)
        settings = settings_of(params)
        asked = settings.streams
        total = asked.edits * len(streams)
        with input_errors():
            bench = self._workbench(settings)
            reach, pairing = settings.editor.reach, settings.pairing_used
            engine = bench.engine(reach.layer, reach.positions, settings.engine_used, reach.changes)
            data = [
                bench.stream_data(
                    engine,
                    number,
                    asked.edits,
                    pairing,
                    seed=asked.seed,
                )
                for number in streams
            ]
            digest = corpus_fingerprint(settings.dataset)
            recipe = recipe_of(settings, digest, self._site.cache)
            network = network_of(recipe, self._site, bench)
            block = EditStreams(
                engine,
                open_editor(settings.editor, pairing, network),
                bench.memory(engine, settings.editor.remembers),
                data,
                seed=asked.seed,
            )
            state = StreamsState.from_bytes(resume.state) if resume else None
            for step in block.run(asked.protocol, batch_size=asked.batch, state=state):
                yield Segment(
                    step.done,
                    total,
                    tuple(_record(n, v) for n, found in step.values.items() for v in found),
                    tuple(p for n, found in step.values.items() for p in _points(n, found)),
                    step.state.to_bytes,
                )

    def verify(self) -> None:
        """Check that the base weights are those that were loaded.

        Raises:
            ReplicaDirtyError: If they are not.
        """
        if self._bench is not None and not self._bench.backbone.is_untouched():
            raise ReplicaDirtyError("the weights of the base model changed while it was edited")

    def _workbench(self, settings: EditStreamSettings) -> Workbench:
        key = settings.warm
        if self._bench is None or self._key != key:
            self._bench = None  # give the memory back before more is asked for
            corpus = corpus_of(settings, self._site)
            backbone = backbone_of(settings, corpus, self._site)
            self.loads += 1
            self._bench = workbench_of(settings, backbone, corpus, self._site)
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
