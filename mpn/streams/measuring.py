"""What is measured of streams, from predictions."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mpn.editors.protocol import Effort
from mpn.metrics.audience import Cell, Panel
from mpn.metrics.measure import measure_accuracy_retention, measure_edit, measure_locality
from mpn.metrics.values import MetricValue, ProtocolName
from mpn.streams.data import StreamData

Values = dict[int, list[MetricValue]]


class Measuring:
    """Turns predictions on the texts of streams into values, by stream number.

    Edits are counted over all streams: edit ``i`` is number ``i % n_edits`` of stream
    ``i // n_edits``.
    """

    def __init__(
        self,
        data: Sequence[StreamData],
        cells: Sequence[Sequence[Cell]],
        before: Tensor,
        evaluation_before: Tensor,
    ) -> None:
        """Keep what the base model predicts.

        Args:
            data: The streams.
            cells: What stands in each column for each edit.
            before: Predictions on it, int64 ``[n_edits of all streams, n_columns]``.
            evaluation_before: Predictions on the evaluation panel, int64 ``[n]``.
        """
        self._data, self._cells = data, cells
        self._n_edits = len(data[0].edits)
        self._before: list[list[int]] = before.tolist()
        self._evaluation_before = evaluation_before

    def edits(
        self,
        protocol: ProtocolName,
        chosen: Sequence[int],
        after: Tensor,
        evaluation_after: Tensor,
        efforts: Sequence[Effort | None],
    ) -> Values:
        """Measure everything about some edits right after they were made.

        Args:
            protocol: How they were made.
            chosen: Which.
            after: Predictions on their own texts, int64 ``[n_chosen, n_columns]``.
            evaluation_after: Predictions on the panel after each, int64 ``[n_chosen, n]``.
            efforts: What each took; None where no edit was needed.
        """
        values: Values = {d.number: [] for d in self._data}
        places = [(self._data[i // self._n_edits], i % self._n_edits) for i in chosen]
        local = measure_locality(
            self._data[0].evaluation,
            self._evaluation_before,
            evaluation_after,
            protocol=protocol,
            positions=[position for _, position in places],
            edit_ids=[d.edits[position].edit_id for d, position in places],
        )
        rows: list[list[int]] = after.tolist()
        for i, (d, position), own_rows, own_local, effort in zip(
            chosen, places, rows, local, efforts, strict=True
        ):
            edit = d.edits[position]
            here = values[d.number]
            here += measure_edit(
                edit,
                self._cells[i],
                self._before[i],
                own_rows,
                protocol=protocol,
                position=position,
                seen=d.seen[position],
            )
            here += own_local
            counts = {"edited": float(effort is not None)}
            if effort is not None:
                counts |= {"steps": float(effort.steps), "separable": float(effort.separable)}
            here += [
                MetricValue(metric, d.languages[0], protocol, count, 1, position, edit.edit_id)
                for metric, count in counts.items()
            ]
        return values

    def retention_so_far(self, position: int, sources: Tensor) -> Values:
        """Measure how many of the edits so far each current model still gets right.

        Args:
            position: The last edit made.
            sources: Predictions on all edits in the source language, ``[n_streams, n_edits]``.
        """
        rows: list[list[int]] = sources.tolist()
        values: Values = {}
        for d, row in zip(self._data, rows, strict=True):
            edits = d.edits[: position + 1]
            kept = sum(edit.label == label for edit, label in zip(edits, row, strict=False))
            share, language = kept / len(edits), d.languages[0]
            values[d.number] = [
                MetricValue(
                    "edit_retention_so_far", language, "sequential", share, len(edits), position
                )
            ]
        return values

    def end(
        self,
        after: Tensor,
        evaluation_after: Tensor,
        remembered_before: Tensor,
        remembered_after: Tensor,
    ) -> Values:
        """Measure the models at the end of sequential streams.

        Args:
            after: Predictions on all edits, ``[n_streams, n_edits, n_languages]``.
            evaluation_after: Predictions on the evaluation panel, ``[n_streams, n]``.
            remembered_before: The base model's on the remembered texts, ``[n]``.
            remembered_after: Those after the streams, ``[n_streams, n]``.
        """
        panels: Mapping[str, tuple[Panel, Tensor, Tensor]] = {
            "test_retention": (
                self._data[0].evaluation,
                self._evaluation_before,
                evaluation_after,
            ),
            "train_retention": (self._data[0].remembered, remembered_before, remembered_after),
        }
        values: Values = {}
        for stream, d in enumerate(self._data):
            values[d.number] = self._kept_edits(d, after[stream].tolist())
            for metric, (panel, before, panel_after) in panels.items():
                values[d.number] += measure_accuracy_retention(
                    metric,
                    panel,
                    before.tolist(),
                    panel_after[stream].tolist(),
                    protocol="sequential",
                )
        return values

    @staticmethod
    def _kept_edits(d: StreamData, after: list[list[int]]) -> list[MetricValue]:
        n, found = len(d.edits), []
        for column, language in enumerate(d.languages):
            kept = sum(row[column] == e.label for e, row in zip(d.edits, after, strict=True))
            metric = "edit_retention" if column == 0 else "cross_lingual_retention"
            seen = any(language in languages for languages in d.seen)
            found.append(MetricValue(metric, language, "sequential", kept / n, n, -1, seen=seen))
        return found


def merged(*parts: Values) -> Values:
    """Join values of the same streams, in order."""
    return {number: [v for part in parts for v in part[number]] for number in parts[0]}
