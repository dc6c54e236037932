from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream_infer.benchmark.alerting import alerting_model, alerting_threshold
from stream_infer.benchmark.latency import latency
from stream_infer.benchmark.load import LABEL_DELAY_MS, PRESSED_MS, single_load, two_stage_load
from stream_infer.benchmark.pipelines import two_stage
from stream_infer.benchmark.spread import collect, text_of
from stream_infer.benchmark.subject import Usage
from stream_infer.benchmark.throughput import Sample, throughput
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.models.ready import ready_model_dir
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.records import label_columns, transaction_columns


def test_a_thousandth_of_a_load_reaches_the_threshold_that_the_bench_sets(tmp_path: Path) -> None:
    load = two_stage_load(20_000, customers=2_000)
    model = alerting_model(load, ready_model_dir("fraud"), tmp_path)
    plan = compile_plan(two_stage("run", "payments"))
    scorer = Scorer(model, plan.feature_names, plan.fingerprint)
    scores = scorer.score(
        compute_features(plan, transaction_columns(load.transactions), label_columns(load.labels))
    )
    decisions = scorer.decisions(scores[12_000:])
    assert decisions.count("decline") == 8
    assert decisions.count("approve") == 8_000 - 8


def test_an_alerting_threshold_has_six_digits_and_is_reached_by_some() -> None:
    scores = np.linspace(0.1, 0.9876543, 2_000, dtype=np.float32)
    at = alerting_threshold(scores)
    assert at == float(f"{at:.6g}")
    assert (scores >= np.float32(at)).sum() == 2
    assert alerting_threshold(np.array([0.5, 0.25], np.float32)) == 0.5


def steady(rate: int, seconds: int, busy: float) -> list[Sample]:
    """Samples each second of a subject that idles 5 s, then writes at `rate`."""
    samples = [Sample(float(s), 0, Usage(1.0, 10, 20)) for s in range(5)]
    return samples + [
        Sample(5.0 + s, rate * (s + 1), Usage(1.0 + busy * (s + 1), 10, 20)) for s in range(seconds)
    ]


def test_the_rate_leaves_out_the_start_and_the_end() -> None:
    samples = steady(1_000, 20, busy=0.5)
    samples.append(Sample(100.0, 20_001, Usage(60.0, 30, 40)))  # one straggler
    found = throughput(samples, measured=0.2)
    assert found.events_per_s == 1_000
    assert found.processor_us == pytest.approx(500)
    assert found.outputs == 15_000
    assert (found.rss_bytes, found.rss_bytes_max) == (30, 40)


def test_a_run_that_passed_between_two_samples_has_no_rate() -> None:
    samples = [Sample(0.0, 0, None), Sample(0.1, 500, None)]
    assert throughput(samples, measured=0.2).events_per_s is None


def test_latency_counts_what_has_no_output() -> None:
    sent = {"a": 10, "b": 20, "c": 30, "warm": 0}
    found = latency(sent, {"a": 13, "b": 27, "warm": 900}, {"a", "b", "c"})
    assert (found.p50_ms, found.max_ms, found.events, found.missing) == (5.0, 7.0, 2, 1)


def test_the_ratio_is_taken_repeat_by_repeat() -> None:
    # The machine was half as quick in the second repeat: both lost by it alike.
    figure = collect("x", "events/s", [200.0, 100.0, 220.0], {"loop": [100.0, 50.0, 110.0]})
    assert figure.ratio("loop") == 2.0
    assert text_of(figure.worker) == "200 (100..220)"


def test_a_repeat_without_a_value_is_left_out_of_the_spread() -> None:
    figure = collect("x", "events/s", [None, 3.0], {"loop": [1.0, 2.0]})
    assert figure.describe()["worker"]["median"] == 3.0
    assert figure.ratio("loop") == 1.5


def test_loads_hold_as_many_events_as_asked_in_event_time_order() -> None:
    load = single_load(30_000, customers=2_000)
    assert len(load.transactions) == 30_000
    assert (np.diff(load.transactions.event_time) >= 0).all()


def test_in_the_two_stage_load_a_label_of_the_first_half_falls_due_with_the_second() -> None:
    load = two_stage_load(20_000, customers=2_000)
    assert (len(load.transactions), len(load.labels)) == (20_000, 10_000)
    second = load.transactions.event_time[10_000:]
    assert abs(load.labels.label_time - second).max() <= 1
    assert load.transactions.ids[:10_000] == load.labels.ids
    assert second[-1] - second[0] < PRESSED_MS < LABEL_DELAY_MS
