"""/metrics: numbers for Prometheus, counted in the database at every scrape.

Rule of the file: a metric's name is part of the API; labels are ids, never names, for whoever reaches the port may read
them without a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from orchestrator.api.edge import Use
from orchestrator.domain.system import Numbers
from orchestrator.use_cases.system import metrics_numbers

routes = APIRouter(tags=["health"])


@routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(application: Use) -> Response:
    """Return the numbers in Prometheus' text format."""
    with application.unit_of_work() as uow:
        numbers = metrics_numbers(uow)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(numbers, version=application.version))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Collected(Collector):
    """One scrape's numbers."""

    def __init__(self, numbers: Numbers, *, version: str) -> None:
        self._numbers = numbers
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once."""
        numbers = self._numbers
        yield _one("skyharbor_build_info", "The running version", 1, version=self._version)
        yield _by("skyharbor_jobs", "Jobs by state", "state", numbers.jobs_by_state)
        yield _by("skyharbor_jobs_waiting", "Waiting jobs by reason", "reason", numbers.waiting_by_reason)
        yield _one("skyharbor_oldest_waiting_seconds", "Age of the oldest waiting job", numbers.oldest_waiting_seconds)
        yield from self._slots()
        yield _one("skyharbor_workers_alive", "Workers heard of lately", numbers.workers_alive)
        yield _one("skyharbor_outbox_pending", "Doorbells decided and not yet rung", numbers.outbox_pending)
        yield _one("skyharbor_points", "Recovery points in the catalog", numbers.points)
        missed = CounterMetricFamily("skyharbor_fires_missed", "Nominal times that passed without a job")
        missed.add_metric([], numbers.fires_missed)
        yield missed
        yield _by("skyharbor_alarms_open", "Open alarms by kind", "kind", numbers.alarms_open)
        yield _by("skyharbor_items", "Items by how they stand to their RPO", "verdict", numbers.items_by_verdict)
        yield _one("skyharbor_audit_unsealed", "Audit lines that are not in the chain yet", numbers.audit_unsealed)
        if numbers.auditor_round_at is not None:
            round_at = numbers.auditor_round_at.timestamp()
            yield _one("skyharbor_auditor_round_timestamp_seconds", "When the auditor's last round was", round_at)
        sealed = {item: moment.timestamp() for item, moment in numbers.last_point_at.items()}
        yield _by("skyharbor_last_point_timestamp_seconds", "When the newest point was sealed", "item", sealed)

    def _slots(self) -> Iterator[Metric]:
        capacity = GaugeMetricFamily("skyharbor_slots", "Slots of a scope", labels=("scope", "key"))
        used = GaugeMetricFamily("skyharbor_slots_in_use", "Slots of a scope in use", labels=("scope", "key"))
        for slot in self._numbers.slots:
            capacity.add_metric((slot.scope, slot.key), slot.capacity)
            used.add_metric((slot.scope, slot.key), slot.in_use)
        yield capacity
        yield used


def _one(name: str, text: str, value: float, **labels: str) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=tuple(labels))
    metric.add_metric(tuple(labels.values()), value)
    return metric


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in values.items():
        metric.add_metric((str(key),), value)
    return metric
