"""The catalogue as live Prometheus metrics. Made by an app and passed down: importing this module registers nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tiebreak.runtime.catalogue import CATALOGUE
from tiebreak.runtime.metric import Metric


class Metrics:
    """All metrics of one process for one project. A name that is not in the catalogue raises KeyError."""

    def __init__(self, project: str, catalogue: Sequence[Metric] = CATALOGUE) -> None:
        self.registry = CollectorRegistry()
        self._project = project
        self._catalogue = catalogue
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        # The client looks a child up under a lock, through its labels as text: too slow for what happens per request.
        self._children: dict[tuple[str, ...], Any] = {}
        for metric in catalogue:
            labels = ("project", *metric.labels)
            if metric.kind == "counter":
                self._counters[metric.name] = Counter(metric.name, metric.help, labels, registry=self.registry)
            elif metric.kind == "gauge":
                self._gauges[metric.name] = Gauge(metric.name, metric.help, labels, registry=self.registry)
            else:
                self._histograms[metric.name] = Histogram(
                    metric.name, metric.help, labels, registry=self.registry, buckets=metric.buckets
                )

        self.begin()

    def begin(self, **labels: str) -> None:
        """Show at 0 every counter that has these labels and, besides them, none but known ones.

        Prometheus sees no rise in a series whose first value is not 0, so the first of what is counted would raise no alarm.
        """
        for metric in self._catalogue:
            if metric.kind == "counter" and labels.keys() == set(metric.labels) - metric.known.keys():
                for values in product(*metric.known.values()):
                    self.count(metric.name, 0.0, **labels, **dict(zip(metric.known, values, strict=True)))

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter. ``amount`` >= 0."""
        self._child(self._counters, name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(self._gauges, name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one observation to a histogram, in its base unit."""
        self._child(self._histograms, name, labels).observe(value)

    def _child(self, kind: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> Any:
        place = (name, *labels, *labels.values())
        child = self._children.get(place)
        if child is None:
            child = self._children[place] = kind[name].labels(project=self._project, **labels)
        return child

    def exposition(self) -> bytes:
        """The text that ``/metrics`` answers."""
        return generate_latest(self.registry)
