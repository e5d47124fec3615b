"""One number per metric and stream, from the values at its edits."""

from collections import defaultdict
from collections.abc import Iterable

from mpn.metrics.values import MetricValue, pooled_mean

Summary = dict[str, tuple[float, int]]


def summarise(values: Iterable[MetricValue]) -> Summary:
    """Reduce the values of one stream.

    Each language is averaged over its cases (``name/language``); the headline ``name`` is the
    plain mean over languages, so that every language counts the same. Cross-lingual generality
    is also split into languages that an edit's pairing drew from, and the others. What has no
    cases is absent.

    Args:
        values: Values of one stream and protocol.

    Returns:
        Name to (value, n).
    """
    by_metric: dict[str, list[MetricValue]] = defaultdict(list)
    for value in values:
        if value.metric not in ALONG_THE_STREAM:
            by_metric[value.metric].append(value)
    generality = by_metric.get("cross_lingual_generality", [])
    by_metric["cross_lingual_generality_seen"] = [v for v in generality if v.seen]
    by_metric["cross_lingual_generality_unseen"] = [v for v in generality if not v.seen]
    summary: Summary = {}
    for metric in sorted(name for name, found in by_metric.items() if found):
        per_language = _per_language(by_metric[metric])
        summary[metric] = (
            sum(value for value, _ in per_language.values()) / len(per_language),
            sum(n for _, n in per_language.values()),
        )
        summary |= {f"{metric}/{language}": pair for language, pair in per_language.items()}
    return summary


ALONG_THE_STREAM = frozenset({"edit_retention_so_far"})
"""Metrics that are a curve over the stream, and have no mean."""

EDIT_BY_EDIT = ("reliability", "cross_lingual_generality", "locality")
"""Metrics worth a curve over the edits, whose mean up to an edit is the metric so far."""


def _per_language(values: list[MetricValue]) -> dict[str, tuple[float, int]]:
    by_language: dict[str, list[MetricValue]] = defaultdict(list)
    for value in values:
        by_language[value.language].append(value)
    return {language: pooled_mean(by_language[language]) for language in sorted(by_language)}
