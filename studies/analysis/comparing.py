"""Two ways of editing on the same edits: paired bootstrap, p-values, Holm's correction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 9999
_CHUNK = 500  # resamples at once; keeps thousands of edits within some 10 MB


@dataclass(frozen=True)
class PairedEdits:
    """Both trials' values on their common edits.

    Attributes:
        streams: Stream of each edit, ``[n_edit]``.
        parts: The languages, in the order of the columns.
        first: The first trial's values, ``[n_edit, n_part]``; anything where there are no cases.
        second: The second trial's.
        cases: Cases behind each pair of values, ``[n_edit, n_part]``; 0 where the metric is
            undefined in either trial.
    """

    streams: NDArray[np.int64]
    parts: tuple[str, ...]
    first: Array
    second: Array
    cases: Array


@dataclass(frozen=True)
class Difference:
    """How much more the second trial reaches than the first.

    Attributes:
        first: The first trial's mean over cases.
        second: The second's.
        mean: Second minus first.
        low: Lower end of the interval; None where there is nothing to resample.
        high: Upper end.
        p: Two-sided p-value of "no difference"; None likewise.
        p_holm: The same, corrected over the languages; None for the macro mean, which is one
            test.
        edits: Edits on which both are defined.
    """

    first: float
    second: float
    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    edits: int


def compare(
    pairs: PairedEdits,
    targets: Sequence[str],
    *,
    clustered: bool,
    level: float,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[dict[str, Difference], Difference | None]:
    """Compare two trials language by language, and on the macro mean.

    The statistic is the mean over cases of second minus first, paired by edit. All languages
    are resampled together, since an edit is the same edit in each. What is resampled depends on
    what is independent. Edits that each start from the base model and share no drawn languages
    are: they are drawn with replacement. Edits of one sequential stream, or of a stream that
    keeps the languages that it drew, are not: then streams are drawn with replacement, and
    within each the edits. Drawing at both levels counts the noise of edits more than once,
    which widens the interval; that few streams say little about streams narrows it. Simulated
    coverage of the 95 % interval at five streams of eleven edits: 0.94 over edits; over streams
    0.98 where streams are alike, 0.95 where their true means spread as much as the noise
    of their edits makes them, and 0.81 where nearly all spread is between streams. So read it
    beside the interval over streams (Student's t) of the study's table.

    Args:
        pairs: Values on the common edits, at least one.
        targets: Languages that the macro mean is over.
        clustered: Whether the edits of a stream hang together.
        level: Confidence, in (0, 1).
        generator: Decides the resamples.
        resamples: How many.

    Returns:
        The difference in each language in which both are defined, and on the macro mean; None
        if no target language is. Intervals are percentiles; p is twice the smaller share of
        resamples on one side of zero, each share with the sample itself counted in, so p is
        never 0. There is neither where only one stream, or edit, is to be resampled.

    Source:
        Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8 (hierarchical
        data) and 4.4 (the share that counts the sample in); Holm (1979).
    """
    spread = pairs.cases * (pairs.second - pairs.first)
    defined = np.flatnonzero(pairs.cases.sum(axis=0))
    weights = np.ones((1, len(pairs.streams)))
    observed = _differences(weights, spread, pairs.cases)[0]
    n_units = len(np.unique(pairs.streams)) if clustered else len(pairs.streams)
    drawn: Array | None = None
    if n_units > 1:
        drawn = np.concatenate(
            [
                _differences(counts, spread, pairs.cases)
                for counts in _resampled(pairs.streams, clustered, generator, resamples)
            ]
        )
    ends = {i: _interval(None if drawn is None else drawn[:, i], level) for i in defined}
    tested = [i for i in defined if ends[i][2] is not None]
    corrected = dict(zip(tested, holm([ends[i][2] or 0.0 for i in tested]), strict=True))
    total = pairs.cases.sum(axis=0)
    levels = {
        i: (
            float((pairs.cases[:, i] * pairs.first[:, i]).sum() / total[i]),
            float((pairs.cases[:, i] * pairs.second[:, i]).sum() / total[i]),
        )
        for i in defined
    }
    by_language = {
        pairs.parts[i]: Difference(
            *levels[i],
            float(observed[i]),
            *ends[i],
            corrected.get(i),
            int(np.count_nonzero(pairs.cases[:, i])),
        )
        for i in defined
    }
    inner = [i for i in defined if pairs.parts[i] in targets]
    if not inner:
        return by_language, None
    macro = Difference(
        sum(levels[i][0] for i in inner) / len(inner),
        sum(levels[i][1] for i in inner) / len(inner),
        float(observed[inner].mean()),
        *_interval(None if drawn is None else _row_means(drawn[:, inner]), level),
        None,
        int(np.count_nonzero(pairs.cases[:, inner].any(axis=1))),
    )
    return by_language, macro


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, so that one in 20 families errs at 0.05.

    Args:
        p_values: Of all tests of the family, in any order.

    Returns:
        In the same order: the k-th smallest of m times m - k + 1, never below a smaller one's,
        at most 1.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def paired(
    first: Mapping[tuple[int, int, str], Mapping[str, tuple[float, int]]],
    second: Mapping[tuple[int, int, str], Mapping[str, tuple[float, int]]],
) -> PairedEdits:
    """Bring two trials' values together on the edits that both have.

    Args:
        first: Edit (stream, position, id) to language to (value, n), in the first trial.
        second: In the second. Where the two n differ, the smaller counts.

    Returns:
        The common edits by stream and position, and every language that either has.
    """
    edits = sorted(set(first) & set(second))
    parts = sorted({part for side in (first, second) for edit in edits for part in side[edit]})
    values = np.zeros((2, len(edits), len(parts)))
    cases = np.zeros((len(edits), len(parts)))
    for i, edit in enumerate(edits):
        for j, part in enumerate(parts):
            if part in first[edit] and part in second[edit]:
                (one, n_one), (other, n_other) = first[edit][part], second[edit][part]
                values[:, i, j], cases[i, j] = (one, other), min(n_one, n_other)
    streams = np.array([stream for stream, _, _ in edits], dtype=np.int64)
    return PairedEdits(streams, tuple(parts), values[0], values[1], cases)


def _resampled(
    streams: NDArray[np.int64], clustered: bool, generator: np.random.Generator, resamples: int
) -> Iterator[Array]:
    """Yield how often each edit is drawn, ``[n_resample, n_edit]``, in pieces."""
    n = len(streams)
    _, index, sizes = np.unique(streams, return_inverse=True, return_counts=True)
    for begin in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - begin)
        if not clustered:
            yield generator.multinomial(n, np.full(n, 1 / n), size).astype(np.float64)
            continue
        times = generator.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size)
        counts = np.zeros((size, n))
        for stream, m in enumerate(sizes):
            inside = generator.multinomial(times[:, stream] * m, np.full(m, 1 / m))
            counts[:, index == stream] = inside
        yield counts


def _differences(counts: Array, spread: Array, cases: Array) -> Array:
    """Return the mean difference of each resample and part; NaN without cases."""
    n = counts @ cases
    means: Array = np.divide(counts @ spread, n, out=np.full(n.shape, np.nan), where=n > 0)
    return means


def _row_means(drawn: Array) -> Array:
    defined = ~np.isnan(drawn)
    n = defined.sum(axis=1)
    total = np.where(defined, drawn, 0.0).sum(axis=1)
    means: Array = np.divide(total, n, out=np.full(len(drawn), np.nan), where=n > 0)
    return means


def _interval(drawn: Array | None, level: float) -> tuple[float | None, float | None, float | None]:
    """Return the percentile interval, and the two-sided p-value."""
    if drawn is None:
        return None, None, None
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    at_most = (1 + np.count_nonzero(drawn <= 0)) / (1 + len(drawn))
    at_least = (1 + np.count_nonzero(drawn >= 0)) / (1 + len(drawn))
    return float(low), float(high), float(min(1.0, 2 * min(at_most, at_least)))
