"""Measurements that Ray's agent on each node offers to Prometheus."""

import json
from pathlib import Path
from typing import Any

import ray
from ray.util import metrics

from orchestrator.own_files import own_file
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


def write_targets(path: Path, study: str) -> None:
    """Tell Prometheus where to scrape this Ray: a file for its ``file_sd_configs``.

    Args:
        path: The file; its folder is made.
        study: Whose Ray it is.
    """
    targets = [f"{n['NodeManagerAddress']}:{n['MetricsExportPort']}" for n in ray.nodes()]
    path.parent.mkdir(parents=True, exist_ok=True)
    own_file(path).write_text(
        json.dumps([{"targets": targets, "labels": {"mpn_study": study}}]) + "\n"
    )


def _instrument(metric: Metric) -> Any:
    what = (metric.name, metric.meaning)
    match metric.kind:
        case "counter":
            return metrics.Counter(*what, tag_keys=metric.labels)
        case "gauge":
            return metrics.Gauge(*what, tag_keys=metric.labels)
        case "histogram":
            return metrics.Histogram(*what, boundaries=list(metric.bounds), tag_keys=metric.labels)
