"""Edit streams: runs of edits on one model, several streams side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.editors.protocol import EditBatch, Editor, EditSeed, Effort
from mpn.engines.protocol import Engine
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank
from mpn.metrics.audience import edit_cells, padded
from mpn.metrics.values import ProtocolName
from mpn.streams.data import StreamData
from mpn.streams.measuring import Measuring, Values, merged
from mpn.streams.state import History, StreamProgress, StreamsState

RowsT = TypeVar("RowsT")


class EditStreams(Generic[RowsT]):
    """Some streams under one protocol.

    ``single``: every edit on the fresh base model; edits are trained side by side in batches,
    whatever stream they belong to. ``sequential``: one after another, with no reset; the streams
    go in step, and an example is edited only if its stream's current model gets it wrong.
    Numbers depend on the settings, the seed and the streams alone: streams taken up from a state
    continue to the same values.
    """

    def __init__(
        self,
        engine: Engine[RowsT],
        editor: Editor,
        memory: MemoryBank,
        data: Sequence[StreamData],
        *,
        seed: int,
    ) -> None:
        """Load the rows of the streams and the base model's predictions on them.

        Args:
            engine: The model at the patch site.
            editor: Computes the edits.
            memory: Queries to leave alone, none about an edited group.
            data: What each stream edits and measures on; as many edits in each.
            seed: The study's seed.
        """
        if not data or not data[0].edits:
            raise MpnInputError("streams.edits", "a stream of no edits", "ask for at least 1")
        self._engine, self._editor, self._memory = engine, editor, memory
        self._data, self._seed = data, seed
        self._n_edits = len(data[0].edits)
        self._places = [(d, position) for d in data for position in range(self._n_edits)]
        cells = [edit_cells(d.edits[p], d.languages, d.neighbours[p]) for d, p in self._places]
        self._width = max(map(len, cells))
        texts = [text for own in cells for text in padded(own, self._width)]
        self._rows = engine.regroup(engine.load(texts), len(self._places))
        self._evaluation = engine.load(data[0].evaluation.texts)
        self._labels = torch.tensor([d.edits[position].label for d, position in self._places])
        self._columns = torch.tensor(
            [[0, *map(d.languages.index, d.drawn_from)] for d, _ in self._places]
        )
        weights = [d.weights for d, _ in self._places if d.weights is not None]
        self._weights = torch.stack(weights) if weights else None
        self._measuring = Measuring(
            data,
            cells,
            engine.predictions(self._rows),
            engine.predictions(self._evaluation)[0],
        )

    def run(
        self, protocol: ProtocolName, *, batch_size: int, state: StreamsState | None = None
    ) -> Iterator[StreamProgress]:
        """Make the edits.

        Args:
            protocol: ``single`` or ``sequential``.
            batch_size: Edits trained side by side under ``single``.
            state: Where an earlier run of the same streams stopped.

        Yields:
            Progress, wherever the streams could be taken up again.
        """
        start = state or StreamsState.start(len(self._data))
        if protocol == "single":
            return self._run_single(start, batch_size)
        return self._run_sequential(start)

    def _run_single(self, state: StreamsState, batch_size: int) -> Iterator[StreamProgress]:
        engine, n = self._engine, len(self._places)
        for first in range(state.done, n, batch_size):
            chosen = torch.arange(first, min(first + batch_size, n))
            rows = engine.take(self._rows, self._all_columns(len(chosen)), chosen)
            outcome = self._editor.edit(engine, self._batch(rows, chosen), self._memory)
            values = self._measuring.edits(
                "single",
                chosen.tolist(),
                engine.predictions(rows, outcome.change),
                engine.predictions(self._evaluation, outcome.change),
                outcome.efforts,
            )
            done = first + len(chosen)
            yield StreamProgress(done, values, replace(state, done=done))

    def _run_sequential(self, state: StreamsState) -> Iterator[StreamProgress]:
        engine, n_streams = self._engine, len(self._data)
        history = History(state, self._n_edits, engine.backbone.device)
        texts = [e.request(d.languages[0]).text for d in self._data for e in d.edits]
        sources = engine.regroup(engine.load(texts), n_streams)
        evaluation = self._evaluation
        trained = self._trained_queries()
        for step in history.steps():
            sources, evaluation = (engine.absorb(rows, step) for rows in (sources, evaluation))
        for position in range(state.done, self._n_edits):
            chosen = torch.arange(n_streams) * self._n_edits + position
            own = self._own_rows(history, chosen)
            change, efforts = self._edit_wrong(history, position, chosen, own, trained)
            if change is not None:
                own, sources, evaluation = (
                    engine.absorb(rows, change) for rows in (own, sources, evaluation)
                )
            values = merged(
                self._measuring.edits(
                    "sequential",
                    chosen.tolist(),
                    engine.predictions(own),
                    engine.predictions(evaluation).expand(n_streams, -1),
                    efforts,
                ),
                self._measuring.retention_so_far(position, engine.predictions(sources)),
            )
            if position == self._n_edits - 1:
                values = merged(values, self._end(history, evaluation))
            done = position + 1
            yield StreamProgress(done * n_streams, values, history.state(done))

    def _own_rows(self, history: History, chosen: Tensor) -> RowsT:
        """Return the rows of one edit of each stream, on its current model."""
        rows = self._engine.take(self._rows, self._all_columns(len(chosen)), chosen)
        return rows if history.change is None else self._engine.absorb(rows, history.change)

    def _edit_wrong(
        self, history: History, position: int, chosen: Tensor, own: RowsT, trained: Tensor
    ) -> tuple[Change | None, list[Effort | None]]:
        """Make the edits that the streams' current models get wrong; write them down."""
        engine, change = self._engine, None
        wrong = engine.predictions(own)[:, 0] != self._labels[chosen]
        efforts: list[Effort | None] = [None] * len(chosen)
        if wrong.any():
            streams = wrong.nonzero().squeeze(-1)
            kept = history.edited[streams, :position].repeat_interleave(trained.shape[2], 1)
            memory = self._memory.with_past(
                trained[streams, :position].flatten(1, 2), kept.to(trained.device)
            )
            if memory.texts is not None and history.change is not None:
                texts = memory.texts.changed(engine, history.change.take(streams))
                memory = replace(memory, texts=texts)
            rows = engine.take(own, self._all_columns(len(streams)), streams)
            outcome = self._editor.edit(engine, self._batch(rows, chosen[wrong]), memory)
            change = history.write(position, outcome.change, streams)
            for stream, effort in zip(streams.tolist(), outcome.efforts, strict=True):
                efforts[stream] = effort
        return change, efforts

    def _end(self, history: History, evaluation: RowsT) -> Values:
        """Measure the models at the end of sequential streams."""
        engine, n_streams = self._engine, len(self._data)
        n_languages, n_edits = len(self._data[0].languages), self._n_edits
        columns = torch.arange(n_languages).expand(len(self._places), -1)
        versions = engine.take(self._rows, columns, torch.arange(len(self._places)))
        rows = engine.regroup(engine.regroup(versions, 1), n_streams)
        remembered = engine.load(self._data[0].remembered.texts)
        fresh = engine.predictions(remembered)[0]
        if history.change is not None:
            rows, remembered = (engine.absorb(r, history.change) for r in (rows, remembered))
        return self._measuring.end(
            engine.predictions(rows).reshape(n_streams, n_edits, n_languages),
            engine.predictions(evaluation).expand(n_streams, -1),
            fresh,
            engine.predictions(remembered).expand(n_streams, -1),
        )

    def _batch(self, rows: RowsT, chosen: Tensor) -> EditBatch[RowsT]:
        seeds = [
            EditSeed(self._seed, d.number, position)
            for d, position in (self._places[i] for i in chosen.tolist())
        ]
        weights = None if self._weights is None else self._weights[chosen]
        languages = self._data[0].languages
        return EditBatch(
            rows, self._columns[chosen], self._labels[chosen], seeds, weights, languages
        )

    def _all_columns(self, n_edits: int) -> Tensor:
        return torch.arange(self._width).expand(n_edits, -1)

    def _trained_queries(self) -> Tensor:
        """Return the queries each edit is trained on, ``[n_streams, n_edits, n, d_model]``."""
        columns = torch.tensor(
            [
                [i for i, name in enumerate(d.languages) if i == 0 or name in d.seen[position]]
                for d, position in self._places
            ]
        )
        rows = self._engine.take(self._rows, columns, torch.arange(len(self._places)))
        queries = self._engine.queries(rows)
        return queries.reshape(len(self._data), self._n_edits, *queries.shape[1:])
