"""FFN inputs without padding, and the batches in which they are computed."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.edits import Text

# Padded positions per batch. On one CPU thread, a 12-layer model of width 768 took 240 XNLI pairs
# at 640, 803, 726, 575 and 321 tokens/s with 256, 1024, 2048, 4096 and 16384 positions: more fall
# out of the processor's cache. Other accelerators are given 128 full texts of 128 tokens.
# The numbers are constants, because what a text is batched with changes its last bits.
_CPU_POSITIONS = 1024
_ACCELERATOR_POSITIONS = 16384
_TOKENIZED_AT_ONCE = 4096


@dataclass(frozen=True)
class PackedQueries:
    """FFN inputs of some texts, without padding; of pre-norm layers, as they are before the norm.

    Attributes:
        inputs: ``[n_tokens, d_model]``, on the backbone's device and of its dtype; text i has
            the rows from ``starts[i]`` to ``starts[i] + lengths[i]``.
        lengths: Rows of each text, int64 ``[n]``, on the CPU; one where only [CLS] is kept.
    """

    inputs: Tensor
    lengths: Tensor

    @functools.cached_property
    def starts(self) -> Tensor:
        """First row of each text, int64 ``[n]``, on the CPU."""
        return self.lengths.cumsum(0) - self.lengths


@dataclass(frozen=True)
class Plan:
    """What is computed together, and where it goes.

    Attributes:
        lengths: Rows that are kept of each text.
        starts: First row of each text.
        batches: Which texts are run together; each text is in one batch.
    """

    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    batches: tuple[tuple[int, ...], ...]

    @property
    def n_rows(self) -> int:
        """Rows of all texts."""
        return sum(self.lengths)


def kept_positions(backbone: Backbone, layer: int, positions: Positions) -> Positions:
    """Return which positions are kept: [CLS] alone where nothing above reads another."""
    return "cls" if backbone.reads_cls_only(layer) else positions


def plan(backbone: Backbone, texts: Sequence[Text], positions: Positions) -> Plan:
    """Tokenise the texts and lay out the rows that are kept; nothing is run yet."""
    counts = _token_counts(backbone, texts)
    lengths = [1] * len(counts) if positions == "cls" else counts
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    batches = batches_by_length(counts, positions_at_once(backbone))
    return Plan(tuple(lengths), tuple(starts[:-1]), batches)


def batches_by_length(counts: Sequence[int], positions: int) -> tuple[tuple[int, ...], ...]:
    """Group texts of similar length.

    Args:
        counts: Tokens of each text.
        positions: Rows times the width of the longest never exceed this in a batch, unless the
            batch is a single text.

    Returns:
        Indices into ``counts``, shortest texts first.
    """
    batches: list[list[int]] = []
    for i in sorted(range(len(counts)), key=lambda i: (counts[i], i)):
        if not batches or (len(batches[-1]) + 1) * counts[i] > positions:
            batches.append([])
        batches[-1].append(i)
    return tuple(map(tuple, batches))


def positions_at_once(backbone: Backbone) -> int:
    """Return the size of a batch, in padded positions."""
    return _CPU_POSITIONS if backbone.device.type == "cpu" else _ACCELERATOR_POSITIONS


def batch_rows(
    backbone: Backbone, texts: Sequence[Text], layer: int, positions: Positions
) -> Tensor:
    """Run one batch, or halves of it where it does not fit into the device's memory.

    Returns:
        Rows of the texts, one text after another, ``[n_rows, d_model]``.

    Raises:
        torch.OutOfMemoryError: If not even a single text fits.
    """
    try:
        prefix = backbone.prefix(texts, layer)
        return prefix.inputs[:, 0] if positions == "cls" else prefix.inputs[prefix.mask]
    except torch.OutOfMemoryError:
        if len(texts) == 1:
            raise
    # Here, outside of the handler, nothing holds the failed batch's memory any more.
    half = len(texts) // 2
    parts = (texts[:half], texts[half:])
    return torch.cat([batch_rows(backbone, part, layer, positions) for part in parts])


def compute_packed(
    backbone: Backbone, texts: Sequence[Text], layer: int, positions: Positions = "all"
) -> PackedQueries:
    """Compute FFN inputs in memory; the cache gives the same numbers to the last bit.

    Args:
        backbone: The model.
        texts: Single texts, or text pairs.
        layer: Index of the layer.
        positions: Which are kept, of every text.

    Returns:
        The FFN inputs, in the order of ``texts``.
    """
    kept = kept_positions(backbone, layer, positions)
    todo = plan(backbone, texts, kept)
    inputs = torch.empty(
        todo.n_rows, backbone.d_model, dtype=backbone.dtype, device=backbone.device
    )
    for batch in todo.batches:
        rows = batch_rows(backbone, [texts[i] for i in batch], layer, kept)
        at = 0
        for i in batch:
            start, length = todo.starts[i], todo.lengths[i]
            inputs[start : start + length] = rows[at : at + length]
            at += length
    return PackedQueries(inputs, torch.tensor(todo.lengths, dtype=torch.int64))


def _token_counts(backbone: Backbone, texts: Sequence[Text]) -> list[int]:
    """Count word pieces, special ones included, after truncation."""
    counts: list[int] = []
    for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
        part = texts[start : start + _TOKENIZED_AT_ONCE]
        segments = [list(segment) for segment in zip(*part, strict=True)]
        ids = backbone.tokenizer(*segments, truncation=True, max_length=backbone.max_tokens)
        counts += map(len, ids["input_ids"])
    return counts
