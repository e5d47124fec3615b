"""Edit streams: a run of edits on one model, measured at each edit and at the end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor

from mpn.editors.protocol import EditBatch, Editor, EditSeed
from mpn.edits import ParallelEdit, ParallelExample
from mpn.engine import Engine
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank
from mpn.metrics.audience import Panel, edit_cells, padded
from mpn.metrics.measure import measure_accuracy_retention, measure_edit, measure_locality
from mpn.metrics.values import MetricValue, ProtocolName
from mpn.patches import Patches

RowsT = TypeVar("RowsT")


@dataclass(frozen=True)
class StreamData:
    """What a stream edits and measures on.

    Attributes:
        edits: The edits, in order.
        languages: All languages, the source first.
        drawn_from: Languages that the pairing draws from, in drawing order.
        seen: For each edit, the languages that its pairing drew.
        neighbours: For each edit, examples near it that it should leave alone.
        evaluation: Unrelated texts, for locality and test retention.
        remembered: Training examples, for train retention.
    """

    edits: tuple[ParallelEdit, ...]
    languages: tuple[str, ...]
    drawn_from: tuple[str, ...]
    seen: tuple[frozenset[str], ...]
    neighbours: tuple[tuple[ParallelExample, ...], ...]
    evaluation: Panel
    remembered: Panel


@dataclass(frozen=True)
class StreamProgress:
    """What a stream has measured since the last time, and how to go on from here.

    Attributes:
        position: Edits that are done.
        values: New values.
        state: Patches that the stream has absorbed so far, and how many neurons each edit
            added: the number of the edits done, as far as the model is concerned.
    """

    position: int
    values: tuple[MetricValue, ...]
    state: "StreamState"


@dataclass(frozen=True)
class StreamState:
    """The edited model of a stream, apart from its base.

    Attributes:
        patches: The neurons of all edits so far, in order; none under the single protocol.
        counts: How many neurons each edit done so far added, ``[position]``.
    """

    patches: Patches
    counts: tuple[int, ...] = ()

    def to_bytes(self) -> bytes:
        """Serialise as safetensors."""
        p = self.patches
        tensors = {"keys": p.keys, "biases": p.biases, "values": p.values}
        counts = torch.tensor(self.counts, dtype=torch.int64)
        data: bytes = save({**tensors, "counts": counts})
        return data

    @staticmethod
    def from_bytes(data: bytes) -> "StreamState":
        """Read what :meth:`to_bytes` wrote."""
        tensors = load(data)
        patches = Patches(tensors["keys"], tensors["biases"], tensors["values"])
        return StreamState(patches, tuple(tensors["counts"].tolist()))

    def per_edit(self) -> list[Patches]:
        """Return the neurons of each edit done, which may be none."""
        tensors = (self.patches.keys, self.patches.biases, self.patches.values)
        if not self.counts:
            return []
        parts = [torch.split(tensor, list(self.counts)) for tensor in tensors]
        return [Patches(*of_one_edit) for of_one_edit in zip(*parts, strict=True)]


class EditStream(Generic[RowsT]):
    """One stream under one protocol.

    ``single``: every edit on the fresh base model; edits are trained side by side in batches.
    ``sequential``: one after another, with no reset; an example is edited only if the current
    model gets it wrong. Numbers depend on the settings, the seed and the stream alone: a stream
    taken up from a state continues to the same values.
    """

    def __init__(
        self,
        engine: Engine[RowsT],
        editor: Editor,
        memory: MemoryBank,
        data: StreamData,
        *,
        seed: int,
        stream: int,
    ) -> None:
        """Load the rows of a stream and the base model's predictions on them.

        Args:
            engine: The model at the patch site.
            editor: Computes the edits.
            memory: Queries to leave alone, none about an edited group.
            data: What to edit and measure on.
            seed: The study's seed.
            stream: Number of the stream.
        """
        if not data.edits:
            raise MpnInputError("streams.edits", "a stream of no edits", "ask for at least 1")
        self._engine, self._editor, self._memory = engine, editor, memory
        self._data, self._seed, self._stream = data, seed, stream
        self._cells = [
            edit_cells(edit, data.languages, near)
            for edit, near in zip(data.edits, data.neighbours, strict=True)
        ]
        width = max(map(len, self._cells))
        texts = [text for cells in self._cells for text in padded(cells, width)]
        self._rows = engine.regroup(engine.load(texts), len(data.edits))
        self._columns = [0, *(data.languages.index(language) for language in data.drawn_from)]
        self._labels = torch.tensor([edit.label for edit in data.edits])
        self._evaluation = engine.load(data.evaluation.texts)
        self._before: list[list[int]] = engine.predictions(self._rows).tolist()
        self._evaluation_before: list[int] = engine.predictions(self._evaluation)[0].tolist()

    def run(
        self, protocol: ProtocolName, *, batch_size: int, state: StreamState | None = None
    ) -> Iterator[StreamProgress]:
        """Make the edits.

        Args:
            protocol: ``single`` or ``sequential``.
            batch_size: Edits trained side by side under ``single``.
            state: Where an earlier run of the same stream stopped.

        Yields:
            Progress, wherever the stream could be taken up again.
        """
        start = state or StreamState(
            Patches.empty(self._engine.backbone.d_model, dtype=self._engine.backbone.dtype)
        )
        if protocol == "single":
            return self._run_single(start, batch_size)
        return self._run_sequential(start)

    def _run_single(self, state: StreamState, batch_size: int) -> Iterator[StreamProgress]:
        n_edits = len(self._data.edits)
        for first in range(len(state.counts), n_edits, batch_size):
            chosen = list(range(first, min(first + batch_size, n_edits)))
            rows = self._take(self._rows, chosen)
            outcome = self._editor.edit(self._engine, self._batch(rows, chosen), self._memory)
            after = self._engine.predictions(rows, outcome.patches).tolist()
            panel_after = self._engine.predictions(self._evaluation, outcome.patches).tolist()
            values: list[MetricValue] = []
            for i, position in enumerate(chosen):
                values += self._measure(
                    "single", position, after[i], panel_after[i], steps=outcome.steps[i]
                )
            state = StreamState(state.patches, state.counts + (0,) * len(chosen))
            yield StreamProgress(chosen[-1] + 1, tuple(values), state)

    def _run_sequential(self, state: StreamState) -> Iterator[StreamProgress]:
        engine, device = self._engine, self._engine.backbone.device
        rows, evaluation = self._rows, self._evaluation
        remembered = fresh_remembered = engine.load(self._data.remembered.texts)
        memory, done = self._memory, state.per_edit()
        for position, patches in enumerate(done):
            if patches.n_patch:
                rows, evaluation, remembered = (
                    engine.absorb(r, patches.to(device)) for r in (rows, evaluation, remembered)
                )
                memory = memory.extended(self._own_queries(position))
        for position in range(len(done), len(self._data.edits)):
            values: list[MetricValue] = []
            own = self._take(rows, [position])
            wrong = int(engine.predictions(own)[0, 0]) != self._data.edits[position].label
            new = Patches.empty(engine.backbone.d_model, dtype=engine.backbone.dtype)
            steps = None
            if wrong:
                outcome = self._editor.edit(engine, self._batch(own, [position]), memory)
                new, steps = outcome.patches[0], outcome.steps[0]
                rows, evaluation, remembered = (
                    engine.absorb(r, new) for r in (rows, evaluation, remembered)
                )
                memory = memory.extended(self._own_queries(position))
            after = engine.predictions(rows).tolist()
            values += self._measure(
                "sequential",
                position,
                after[position],
                engine.predictions(evaluation)[0].tolist(),
                steps=steps,
            )
            values.append(self._retention_so_far(position, after))
            if position == len(self._data.edits) - 1:
                values += self._measure_end(
                    after,
                    engine.predictions(evaluation)[0].tolist(),
                    engine.predictions(fresh_remembered)[0].tolist(),
                    engine.predictions(remembered)[0].tolist(),
                )
            patches = Patches.concatenate([state.patches, new.to("cpu")])
            state = StreamState(patches, (*state.counts, new.n_patch))
            yield StreamProgress(position + 1, tuple(values), state)

    def _measure(
        self,
        protocol: ProtocolName,
        position: int,
        after: Sequence[int],
        evaluation_after: Sequence[int],
        *,
        steps: int | None,
    ) -> Iterator[MetricValue]:
        """Measure everything about one edit; ``steps`` is None where none was needed."""
        edit, source = self._data.edits[position], self._data.languages[0]
        yield from measure_edit(
            edit,
            self._cells[position],
            self._before[position],
            after,
            protocol=protocol,
            position=position,
            seen=self._data.seen[position],
        )
        yield from measure_locality(
            self._data.evaluation,
            self._evaluation_before,
            evaluation_after,
            protocol=protocol,
            position=position,
            edit_id=edit.edit_id,
        )
        counts = {"edited": float(steps is not None)}
        if steps is not None:
            counts["steps"] = float(steps)
        for metric, value in counts.items():
            yield MetricValue(metric, source, protocol, value, 1, position, edit.edit_id)

    def _retention_so_far(self, position: int, after: list[list[int]]) -> MetricValue:
        """Return how many of the edits so far the current model still gets right."""
        edits = self._data.edits[: position + 1]
        kept = [edit.label == row[0] for edit, row in zip(edits, after, strict=False)]
        return MetricValue(
            "edit_retention_so_far",
            self._data.languages[0],
            "sequential",
            sum(kept) / len(kept),
            len(kept),
            position,
        )

    def _measure_end(
        self,
        after: list[list[int]],
        evaluation_after: list[int],
        remembered_before: list[int],
        remembered_after: list[int],
    ) -> Iterator[MetricValue]:
        """Measure the model at the end of a sequential stream."""
        edits, n = self._data.edits, len(self._data.edits)
        for column, language in enumerate(self._data.languages):
            kept = sum(row[column] == e.label for e, row in zip(edits, after, strict=True))
            metric = "edit_retention" if column == 0 else "cross_lingual_retention"
            seen = any(language in languages for languages in self._data.seen)
            yield MetricValue(metric, language, "sequential", kept / n, n, -1, seen=seen)
        yield from measure_accuracy_retention(
            "test_retention",
            self._data.evaluation,
            self._evaluation_before,
            evaluation_after,
            protocol="sequential",
        )
        yield from measure_accuracy_retention(
            "train_retention",
            self._data.remembered,
            remembered_before,
            remembered_after,
            protocol="sequential",
        )

    def _batch(self, rows: RowsT, positions: Sequence[int]) -> EditBatch[RowsT]:
        seeds = [EditSeed(self._seed, self._stream, position) for position in positions]
        return EditBatch(rows, self._columns, self._labels[list(positions)], seeds)

    def _take(self, rows: RowsT, positions: Sequence[int]) -> RowsT:
        """Return the rows of some edits, all columns."""
        device = self._engine.backbone.device
        width = max(map(len, self._cells))
        columns = torch.arange(width, device=device).expand(len(positions), -1)
        return self._engine.take(rows, columns, torch.tensor(list(positions), device=device))

    def _own_queries(self, position: int) -> Tensor:
        """Return the queries that an edit was trained on, ``[n, d_model]``."""
        seen = self._data.seen[position]
        columns = [0, *(i for i, name in enumerate(self._data.languages) if name in seen)]
        return self._engine.queries(self._take(self._rows, [position]))[0, columns]
