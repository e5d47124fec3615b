"""The metrics, from predictions. Definitions: README, "What is measured"."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mpn.edits import ParallelEdit
from mpn.metrics.audience import Cell, Panel
from mpn.metrics.values import MetricValue, ProtocolName


def measure_edit(
    edit: ParallelEdit,
    cells: Sequence[Cell],
    before: Sequence[int],
    after: Sequence[int],
    *,
    protocol: ProtocolName,
    position: int,
    seen: frozenset[str],
) -> Iterator[MetricValue]:
    """Measure an edit on its own texts, right after it was made.

    Args:
        edit: The edit.
        cells: What stands in each column.
        before: The unedited base model's predictions, one a column.
        after: The edited model's.
        protocol: How the edit was made.
        position: Its place in the stream.
        seen: Languages that its pairing drew from.

    Yields:
        ``reliability`` (source); ``generality`` (source rephrases); per target language
        ``cross_lingual_generality``, ``cross_lingual_correction`` (where the base model was
        wrong) and ``cross_lingual_rephrase``; per language ``near_locality`` (predictions on
        neighbours that did not change).
    """
    pooled: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for cell, old, new in zip(cells, before, after, strict=False):
        right = new == edit.label
        if cell.kind == "source":
            pooled["reliability", cell.language].append(right)
        elif cell.kind == "parallel":
            pooled["cross_lingual_generality", cell.language].append(right)
            if old != edit.label:
                pooled["cross_lingual_correction", cell.language].append(right)
        elif cell.kind == "rephrase":
            is_source = cell.language == edit.source_language
            name = "generality" if is_source else "cross_lingual_rephrase"
            pooled[name, cell.language].append(right)
        else:
            pooled["near_locality", cell.language].append(new == old)
    for (metric, language), hits in pooled.items():
        yield MetricValue(
            metric,
            language,
            protocol,
            sum(hits) / len(hits),
            len(hits),
            position,
            edit.edit_id,
            seen=language in seen,
        )


def measure_locality(
    panel: Panel,
    before: Tensor,
    after: Tensor,
    *,
    protocol: ProtocolName,
    positions: Sequence[int],
    edit_ids: Sequence[str],
) -> list[list[MetricValue]]:
    """Measure agreement with the base model on unrelated texts, per language.

    Args:
        panel: The texts.
        before: The base model's predictions, int64 ``[n]``.
        after: Those after each edit, int64 ``[n_edits, n]``.
        protocol: How the edits were made.
        positions: Their places in their streams.
        edit_ids: Their names.

    Returns:
        The values of each edit.
    """
    names, index = panel.by_language
    counts = torch.bincount(index, minlength=len(names)).tolist()
    same = torch.zeros(len(after), len(names), dtype=torch.int64)
    same.index_add_(1, index, (after == before).long())
    return [
        [
            MetricValue("locality", name, protocol, hits / n, n, position, edit_id)
            for name, hits, n in zip(names, row, counts, strict=True)
        ]
        for row, position, edit_id in zip(same.tolist(), positions, edit_ids, strict=True)
    ]


def measure_accuracy_retention(
    metric: str,
    panel: Panel,
    before: Sequence[int],
    after: Sequence[int],
    *,
    protocol: ProtocolName,
) -> Iterator[MetricValue]:
    """Measure accuracy after the stream over accuracy before, per language.

    A language in which the base model was never right is left out: the ratio is undefined.
    """
    right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for language, label, old, new in zip(panel.languages, panel.labels, before, after, strict=True):
        right[language].append((old == label, new == label))
    for language, pairs in right.items():
        n_before = sum(old for old, _ in pairs)
        if n_before:
            ratio = sum(new for _, new in pairs) / n_before
            yield MetricValue(metric, language, protocol, ratio, len(pairs), position=-1)
