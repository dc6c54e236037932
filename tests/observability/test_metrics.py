"""What Prometheus is shown: right values, conventional names, bounded labels, all documented."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from stream_infer.observability.facts import PlaneFacts
from stream_infer.observability.metrics import Observed, PlaneCollector, make_registry
from support.plane_facts import busy_facts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
OF_PARTITION = {"topic", "partition"}


def scrape(facts: PlaneFacts, *, partitions: bool = True) -> dict[str, Metric]:
    registry = CollectorRegistry()
    registry.register(
        PlaneCollector(
            "fraud",
            "0.1.0",
            lambda: Observed(facts, age_s=0.25, live=True, ready=False),
            partitions=partitions,
        )
    )
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """Return the value of the one sample with that name and these labels among others."""
    [found] = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def test_counters_and_gauges_say_what_the_facts_say() -> None:
    families = scrape(busy_facts())
    customer = {"pipeline": "fraud", "stage": "customer"}
    assert value(families, "stream_infer_events_total", **customer) == 1
    assert value(families, "stream_infer_scores_total", **customer) == 2
    assert value(families, "stream_infer_dead_letters_total", **customer, code="bad_time") == 1
    assert value(families, "stream_infer_lag_records", **customer) == 20
    assert value(families, "stream_infer_window_entries", **customer) == 2000
    assert value(families, "stream_infer_window_bytes", **customer) == 131072
    assert value(families, "stream_infer_unmoved_seconds_max", **customer) == 1.5
    assert value(families, "stream_infer_partitions", **customer, phase="running") == 2
    assert value(families, "stream_infer_partitions", **customer, phase="restoring") == 0
    assert value(families, "stream_infer_partition_lag_records", **customer, partition="1") == 10
    assert value(families, "stream_infer_in_flight_bytes") == 4096
    assert value(families, "stream_infer_snapshot_age_seconds") == 0.25
    assert value(families, "stream_infer_live") == 1
    assert value(families, "stream_infer_ready") == 0
    assert value(families, "stream_infer_worker_info", model="fraud", version="0.1.0") == 1


def test_histograms_are_cumulative_and_end_with_their_count() -> None:
    families = scrape(busy_facts())
    customer = {"stage": "customer"}
    age = "stream_infer_event_age_seconds"
    assert value(families, f"{age}_bucket", **customer, le="0.002") == 0
    assert value(families, f"{age}_bucket", **customer, le="0.005") == 1
    assert value(families, f"{age}_bucket", **customer, le="0.5") == 2
    assert value(families, f"{age}_bucket", **customer, le="+Inf") == 2
    assert value(families, f"{age}_count", **customer) == 2
    assert value(families, f"{age}_sum", **customer) == pytest.approx(0.403)


def test_a_worker_that_has_just_started_can_be_scraped() -> None:
    families = scrape(PlaneFacts())
    assert value(families, "stream_infer_in_flight_bytes") == 0
    assert families["stream_infer_events"].samples == []


def test_what_is_not_known_is_not_shown() -> None:
    facts = busy_facts(partitions=1)
    unknown = tuple(replace(each, position=None) for each in facts.partitions)
    families = scrape(replace(facts, partitions=unknown))
    assert families["stream_infer_partition_lag_records"].samples == []
    assert families["stream_infer_partition_position"].samples == []


def test_a_broker_that_is_away_is_shown() -> None:
    families = scrape(replace(busy_facts(), broker_away_since_s=5.0))
    assert value(families, "stream_infer_broker_reachable") == 0


def test_transactions_are_counted_and_timed_by_stage() -> None:
    families = scrape(busy_facts())
    assert value(families, "stream_infer_transactions_committed_total", stage="customer") == 7
    assert value(families, "stream_infer_transactions_aborted_total", stage="terminal") == 2
    assert value(families, "stream_infer_open_transaction_seconds", stage="customer") == 0.02
    assert value(families, "stream_infer_since_commit_seconds", stage="customer") == 0.03


def test_checkpoints_are_counted_by_what_became_of_them() -> None:
    families = scrape(busy_facts())
    assert value(families, "stream_infer_checkpoints_published_total", pipeline="fraud") == 5
    assert value(families, "stream_infer_checkpoints_failed_total", pipeline="fraud") == 1


def test_a_worker_that_takes_no_checkpoints_counts_none() -> None:
    families = scrape(replace(busy_facts(), checkpoints=None))
    assert families["stream_infer_checkpoints_published"].samples == []
    assert families["stream_infer_checkpoints_failed"].samples == []


def test_versions_and_failed_loads_are_shown_by_alias() -> None:
    families = scrape(busy_facts())
    assert value(families, "stream_infer_model_serves", alias="challenger", version="2") == 1
    failed = {"alias": "shadow", "code": "version_not_found"}
    assert value(families, "stream_infer_model_load_failed", **failed) == 1
    assert value(families, "stream_infer_model_history_number") == 7
    assert value(families, "stream_infer_model_fast_serves") == 1
    assert value(families, "stream_infer_model_decides") == 1
    assert value(families, "stream_infer_feature_drift", feature="amount", version="1") == 0.4
    assert value(families, "stream_infer_trial_labels", champion="1", challenger="2") == 640
    assert value(families, "stream_infer_trial_promote", challenger="2") == 0.8


def test_a_worker_without_a_registry_shows_no_versions() -> None:
    families = scrape(replace(busy_facts(), models=None))
    for name in ("model_serves", "model_load_failed", "model_history_number", "trial_labels"):
        assert families[f"stream_infer_{name}"].samples == []


def test_input_that_waits_for_a_transaction_shows_whose_only_while_it_waits() -> None:
    name = "stream_infer_stalled_by_open_transaction_seconds"
    facts = busy_facts()
    stalled = {"stage": "customer", "transactional_id": "loader"}
    assert value(scrape(facts), name, **stalled) == 2.5
    well = tuple(replace(each, stalled_s=0.0, stalled_by="") for each in facts.partitions)
    assert scrape(replace(facts, partitions=well))[name].samples == []


def test_gauges_by_partition_can_be_switched_off() -> None:
    def labels(families: dict[str, Metric]) -> set[str]:
        samples = [sample for family in families.values() for sample in family.samples]
        return {label for sample in samples for label in sample.labels}

    assert labels(scrape(busy_facts())) >= OF_PARTITION
    assert not labels(scrape(busy_facts(), partitions=False)) & OF_PARTITION


def test_without_partitions_the_number_of_series_does_not_grow_with_them() -> None:
    def series(partitions: int) -> int:
        families = scrape(busy_facts(partitions), partitions=False).values()
        return sum(len(family.samples) for family in families)

    assert series(1) == series(200)


def test_labels_are_of_a_closed_list_that_holds_no_entity() -> None:
    allowed = {
        *("pipeline", "stage", "step", "code", "phase", "topic", "partition", "le"),
        *("version", "model", "model_version", "transactional_id"),
        *("alias", "feature", "champion", "challenger"),
    }
    for family in scrape(busy_facts()).values():
        for sample in family.samples:
            assert set(sample.labels) <= allowed, sample.name


def test_names_follow_the_conventions_of_prometheus() -> None:
    for family in scrape(busy_facts()).values():
        assert re.fullmatch(r"stream_infer_[a-z_]+", family.name)
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|milliseconds|kb|mb|minutes)\b", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total")


def test_two_workers_in_one_process_do_not_collide() -> None:
    def registry(name: str) -> CollectorRegistry:
        observed = Observed(busy_facts(), 0.0, live=True, ready=True)
        return make_registry(PlaneCollector(name, "0.1.0", lambda: observed))

    one, two = registry("fraud"), registry("traffic")
    assert b'pipeline="fraud"' in generate_latest(one)
    assert b'pipeline="fraud"' not in generate_latest(two)


def test_openmetrics_readers_are_served_too() -> None:
    observed = Observed(busy_facts(), 0.0, live=True, ready=True)
    registry = make_registry(PlaneCollector("fraud", "0.1.0", lambda: observed))
    encode, content_type = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert encode(registry).endswith(b"# EOF\n")


def test_the_page_and_the_collector_name_the_same_metrics() -> None:
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in scrape(busy_facts()).values()
    }
    assert set(re.findall(r"`(stream_infer_[a-z_]+)`", PAGE)) == names


def test_the_page_names_the_labels_of_each_metric() -> None:
    for family in scrape(busy_facts()).values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found = {label for sample in family.samples for label in sample.labels} - {"pipeline", "le"}
        [line] = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]
        named = {word.strip() for word in line.split("|")[2].split(",")} - {""}
        assert named == found, name


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    samples = {sample.name for family in scrape(busy_facts()).values() for sample in family.samples}
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"stream_infer_[a-z_]+", target["expr"])
    }
    assert asked
    assert asked <= samples
