"""Measurements that Ray's agent on each node offers to Prometheus."""

from typing import Any

from ray.util import metrics

from orchestrator.telemetry import Metric


class RayTelemetry:
    """See :class:`orchestrator.telemetry.Telemetry`; to be made where Ray is up.

    Ray sends values to the agent of the node every few seconds, and adds ``ray_`` before a
    name, ``_total`` behind a counter's, and labels for node and process.
    """

    def __init__(self) -> None:
        """Begin with nothing measured."""
        self._instruments: dict[Metric, Any] = {}

    def record(self, metric: Metric, value: float, **labels: str) -> None:
        """Hand the value to Ray."""
        instrument = self._instruments.get(metric)
        if instrument is None:
            instrument = self._instruments[metric] = _instrument(metric)
        match metric.kind:
            case "counter" if value > 0:
                instrument.inc(value, tags=labels)
            case "gauge":
                instrument.set(value, tags=labels)
            case "histogram":
                instrument.observe(value, tags=labels)


def exported_name(metric: Metric) -> str:
    """Return the name that Prometheus finds a metric under; a histogram's has suffixes."""
    return f"ray_{metric.name}{'_total' if metric.kind == 'counter' else ''}"


def _instrument(metric: Metric) -> Any:
    what = (metric.name, metric.meaning)
    match metric.kind:
        case "counter":
            return metrics.Counter(*what, tag_keys=metric.labels)
        case "gauge":
            return metrics.Gauge(*what, tag_keys=metric.labels)
        case "histogram":
            return metrics.Histogram(*what, boundaries=list(metric.bounds), tag_keys=metric.labels)
