"""The metrics of a worker for Prometheus: facts in, metric families out.

Nothing here is on the way of an event: a scrape turns the newest snapshot into text. Labels are
few and bounded: the pipeline, its stages, steps and codes that are our own words, and (switchable)
topic and partition of gauges. Never an id, a key or a value of an event. A transactional id is one
only while input waits for it.

Names follow the conventions of Prometheus (base units, ``_total`` for counters):
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from stream_infer.observability.facts import (
    PHASES,
    PartitionFacts,
    PlaneFacts,
    TransactionFacts,
)
from stream_infer.observability.meter import STEPS, HistogramFacts
from stream_infer.observability.model_metrics import PREFIX, model_metrics

COUNTERS = {
    "events": ("events", "Records that were read and folded."),
    "scored": ("scores", "Events that were scored and written."),
    "forwarded": ("forwarded_records", "Records written for the next stage."),
    "alerts": ("alert_changes", "Alerts opened, updated or cleared."),
    "late": ("late_events", "Events older than the allowed lateness."),
    "duplicates": ("duplicate_events", "Events whose id was seen before."),
    "ignored": ("ignored_records", "Records that a crash had doubled; folded once."),
    "restored": ("restored_records", "Records folded silently to rebuild a state."),
    "batches": ("batches", "Record batches that were taken up."),
    "align_waits": ("alignment_waits", "Times that a batch waited for another partition."),
    "align_breaches": ("alignment_breaches", "Waits that were given up: rows out of step."),
}
"""Name of a task's counter -> (name of the metric without prefix and ``_total``, help)."""

_OF_STAGE = ["pipeline", "stage"]
_OF_PARTITION = [*_OF_STAGE, "topic", "partition"]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a scrape sees.

    facts    the newest snapshot
    age_s    how old it is
    live     whether the worker is alive
    ready    whether it is ready
    """

    facts: PlaneFacts
    age_s: float
    live: bool
    ready: bool


class PlaneCollector(Collector):
    """Makes the metric families of one worker.

    pipeline    its name
    version     of this package
    observe     returns what is there to see; called at each scrape
    partitions  whether gauges by partition are shown: seven series or more for each
    """

    def __init__(
        self,
        pipeline: str,
        version: str,
        observe: Callable[[], Observed],
        *,
        partitions: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._version = version
        self._observe = observe
        self._partitions = partitions

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry then does not collect in order to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family, also those that have no series yet."""
        observed = self._observe()
        facts = observed.facts
        yield self._info(facts)
        yield from self._worker(observed)
        yield from self._counters(facts)
        yield from self._meters(facts)
        yield from self._stages(facts)
        yield from self._transactions(facts)
        yield self._stalls(facts)
        yield from self._checkpoints(facts)
        yield from model_metrics(self._pipeline, facts.models)
        if self._partitions:
            yield from self._by_partition(facts)

    def _info(self, facts: PlaneFacts) -> Metric:
        model, model_version = facts.model or ("", "")
        family = InfoMetricFamily(f"{PREFIX}worker", "What runs.", labels=["pipeline"])
        words = {"version": self._version, "model": model, "model_version": model_version}
        family.add_metric([self._pipeline], words)
        return family

    def _worker(self, observed: Observed) -> Iterator[Metric]:
        facts = observed.facts
        values: dict[str, tuple[float, str]] = {
            "live": (observed.live, "1 while /health/live says yes."),
            "ready": (observed.ready, "1 while /health/ready says yes."),
            "broker_reachable": (facts.broker_away_since_s is None, "1 while Kafka answers."),
            "in_flight_bytes": (facts.in_flight_bytes, "Input without acknowledged outputs."),
            "in_flight_bytes_max": (facts.in_flight_bytes_max, "Above it no input is read."),
            "snapshot_age_seconds": (observed.age_s, "Age of what these metrics are made of."),
        }
        for name, (value, text) in values.items():
            family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=["pipeline"])
            family.add_metric([self._pipeline], float(value))
            yield family

    def _counters(self, facts: PlaneFacts) -> Iterator[Metric]:
        for counter, (name, text) in COUNTERS.items():
            family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=_OF_STAGE)
            for stage, counted in facts.counters.items():
                if counter in counted:
                    family.add_metric([self._pipeline, stage], counted[counter])
            yield family

    def _meters(self, facts: PlaneFacts) -> Iterator[Metric]:
        letters = CounterMetricFamily(
            f"{PREFIX}dead_letters",
            "Records that became dead letters.",
            labels=[*_OF_STAGE, "code"],
        )
        steps = CounterMetricFamily(
            f"{PREFIX}step_seconds",
            "Time spent by step; `send` waits for Kafka, the others compute.",
            labels=[*_OF_STAGE, "step"],
        )
        sizes = HistogramMetricFamily(
            f"{PREFIX}batch_records", "Records of one step of work.", labels=_OF_STAGE
        )
        ages = HistogramMetricFamily(
            f"{PREFIX}event_age_seconds",
            "Wall clock less event time when an event was scored; of events since the start.",
            labels=_OF_STAGE,
        )
        for stage, meter in facts.meters.items():
            labels = [self._pipeline, stage]
            for code, count in meter.dead_letters.items():
                letters.add_metric([*labels, code], count)
            for step, seconds in zip(STEPS, meter.step_seconds, strict=True):
                steps.add_metric([*labels, step], seconds)
            sizes.add_metric(labels, _buckets(meter.batch_records), meter.batch_records.total)
            ages.add_metric(labels, _buckets(meter.event_age), meter.event_age.total)
        yield from (letters, steps, sizes, ages)

    def _stages(self, facts: PlaneFacts) -> Iterator[Metric]:
        by_stage: dict[str, list[PartitionFacts]] = {}
        for each in facts.partitions:
            by_stage.setdefault(each.stage, []).append(each)
        sums: dict[str, tuple[Callable[[list[PartitionFacts]], float], str]] = {
            "window_entries": (lambda of: sum(each.entries for each in of), "Entries in windows."),
            "window_keys": (lambda of: sum(each.keys for each in of), "Keys that are held."),
            "window_bytes": (lambda of: sum(each.bytes for each in of), "Memory of the state."),
            "lag_records": (
                lambda of: sum(each.lag or 0 for each in of),
                "Records in the log that were not read yet.",
            ),
            "unmoved_seconds_max": (
                lambda of: max(each.unmoved_s for each in of),
                "Longest time without a commit although records are in work.",
            ),
        }
        for name, (value, text) in sums.items():
            family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_OF_STAGE)
            for stage, of in by_stage.items():
                family.add_metric([self._pipeline, stage], value(of))
            yield family
        yield self._phases(by_stage)

    def _transactions(self, facts: PlaneFacts) -> Iterator[Metric]:
        counts: dict[str, tuple[Callable[[TransactionFacts], int], str]] = {
            "transactions_committed": (lambda of: of.commits, "Transactions that were committed."),
            "transactions_aborted": (lambda of: of.aborts, "Transactions that were given up."),
        }
        for name, (count, text) in counts.items():
            counter = CounterMetricFamily(f"{PREFIX}{name}", text, labels=_OF_STAGE)
            for each in facts.transactions:
                counter.add_metric([self._pipeline, each.stage], count(each))
            yield counter
        ages: dict[str, tuple[Callable[[TransactionFacts], float | None], str]] = {
            "open_transaction_seconds": (
                lambda of: of.open_s or 0.0,
                "Since when the open transaction holds something; 0 while none does.",
            ),
            "since_commit_seconds": (lambda of: of.since_commit_s, "Since the last commit."),
        }
        for name, (age, text) in ages.items():
            gauge = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_OF_STAGE)
            for each in facts.transactions:
                found = age(each)
                if found is not None:
                    gauge.add_metric([self._pipeline, each.stage], found)
            yield gauge

    def _stalls(self, facts: PlaneFacts) -> Metric:
        """Return what waits for somebody's transaction; a series only as long as it does."""
        family = GaugeMetricFamily(
            f"{PREFIX}stalled_by_open_transaction_seconds",
            "For how long input has waited for an open transaction, and whose it is.",
            labels=[*_OF_STAGE, "transactional_id"],
        )
        longest: dict[tuple[str, str], float] = {}
        for each in facts.partitions:
            if each.stalled_by:
                key = each.stage, each.stalled_by
                longest[key] = max(longest.get(key, 0.0), each.stalled_s)
        for (stage, holder), seconds in longest.items():
            family.add_metric([self._pipeline, stage, holder], seconds)
        return family

    def _checkpoints(self, facts: PlaneFacts) -> Iterator[Metric]:
        found = facts.checkpoints
        values: dict[str, tuple[int | None, str]] = {
            "checkpoints_published": (
                None if found is None else found.published,
                "Checkpoints that a restore may use.",
            ),
            "checkpoints_failed": (
                None if found is None else found.failed,
                "Checkpoints that could not be written or published.",
            ),
        }
        for name, (value, text) in values.items():
            family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=["pipeline"])
            if value is not None:
                family.add_metric([self._pipeline], value)
            yield family

    def _phases(self, by_stage: dict[str, list[PartitionFacts]]) -> Metric:
        family = GaugeMetricFamily(
            f"{PREFIX}partitions", "Partitions by phase.", labels=[*_OF_STAGE, "phase"]
        )
        for stage, of in by_stage.items():
            for phase in PHASES:
                count = sum(each.phase == phase for each in of)
                family.add_metric([self._pipeline, stage, phase], count)
        return family

    def _by_partition(self, facts: PlaneFacts) -> Iterator[Metric]:
        values: dict[str, tuple[Callable[[PartitionFacts], float | None], str]] = {
            "partition_lag_records": (lambda of: of.lag, "Records not read yet."),
            "partition_position": (lambda of: of.position, "Next offset to be read."),
            "partition_running": (lambda of: of.phase == "running", "1 while it is worked on."),
            "partition_held": (lambda of: of.held, "1 while alignment holds it."),
            "partition_window_entries": (lambda of: of.entries, "Entries in its windows."),
            "partition_window_keys": (lambda of: of.keys, "Keys that it holds."),
            "partition_window_bytes": (lambda of: of.bytes, "Memory of its state."),
        }
        for name, (value, text) in values.items():
            family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=_OF_PARTITION)
            for each in facts.partitions:
                found = value(each)
                if found is not None:
                    labels = [self._pipeline, each.stage, each.topic, str(each.partition)]
                    family.add_metric(labels, float(found))
            yield family


def make_registry(collector: PlaneCollector) -> CollectorRegistry:
    """Return a registry of one worker's own, with the metrics of its process beside.

    Not the library's global one: two workers in one process would collide there.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _buckets(histogram: HistogramFacts) -> list[tuple[str, float]]:
    """Return the cumulative counts by upper bound, as Prometheus wants them."""
    texts = [*(format(bound, "g") for bound in histogram.bounds), "+Inf"]
    buckets: list[tuple[str, float]] = []
    total = 0
    for text, count in zip(texts, histogram.counts, strict=True):
        total += count
        buckets.append((text, total))
    return buckets
