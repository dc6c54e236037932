"""How often the alerts of the models that ship are right, and what they catch; without Kafka.

    python benchmarks/alert_quality.py [--seeds 1001,1002,1003] [--only fraud|traffic] [--json]

Generates worlds of seeds that nothing was fitted or tuned on, lets the pipelines fold, score
and raise alerts with the code of the stream, and counts. What is right and what is caught
stands in `stream_infer.models.fraud_alerts` and `.road_alerts`. The same seeds give the same
figures. A seed takes about ten seconds for each of the pipelines.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from stream_infer.features.plan import compile_plan
from stream_infer.models.alert_run import added
from stream_infer.models.fraud_alerts import measure_fraud, run_fraud
from stream_infer.models.ready import ready_model_dir
from stream_infer.models.road_alerts import measure_roads, run_roads
from stream_infer.models.traffic import MONDAY_MS
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.scoring.model import load_model
from stream_infer.scoring.session import Scorer
from stream_infer.simulators.fraud import World
from stream_infer.simulators.traffic import Roads

ATTACKED = 0.0004
HOUR_MS = 3_600_000
FRAUD_DAYS = {"days 1 to 4": (0, 4), "days 5 to 14": (4, 14), "after 45 days": (45, 59)}
SMALL_DAYS = {"1,000 customers, after 38 days": (38, 59)}
ROAD_HOURS = {"day 1": (0, 24), "days 2 to 4": (24, 96)}


def fraud_figures(seeds: list[int]) -> dict[str, Any]:
    """Return the counts of each stretch of days, all seeds together."""
    plan = compile_plan(fraud)
    scorer = Scorer(ready_model_dir("fraud"), plan.feature_names, plan.fingerprint)
    found: dict[str, list[dict[str, Any]]] = {}
    for customers, stretches in ((5_000, FRAUD_DAYS), (1_000, SMALL_DAYS)):
        for seed in seeds:
            world = World(
                seed=seed,
                customers=customers,
                terminals=2 * customers,
                days=59,
                accounts_lost=ATTACKED,
                cards_tested=ATTACKED,
            )
            run = run_fraud(fraud, scorer, world)
            for name, days in stretches.items():
                found.setdefault(name, []).append(measure_fraud(run, *days))
    return {name: added(parts) for name, parts in found.items()}


def road_figures(seeds: list[int]) -> dict[str, Any]:
    """Return the counts of each stretch of hours, all seeds together; a network for each seed."""
    model = load_model(ready_model_dir("traffic"))
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        hours = max(until for _, until in ROAD_HOURS.values())
        roads = Roads(seed=seed, network_seed=seed, start_ms=MONDAY_MS, minutes=hours * 60)
        run = run_roads(model, roads)
        for name, (first, until) in ROAD_HOURS.items():
            span = (MONDAY_MS + first * HOUR_MS, MONDAY_MS + until * HOUR_MS)
            found.setdefault(name, []).append(measure_roads(run, *span))
    return {name: added(parts) for name, parts in found.items()}


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _minutes(delays_ms: list[int]) -> str:
    return f"{np.median(delays_ms) / 60_000:.0f}" if delays_ms else "-"


def _verdicts(counts: dict[str, int]) -> str:
    right, wrong = counts["right"], counts["wrong"]
    return f"{right}/{wrong} ({_percent(right, right + wrong)})"


def print_fraud(figures: dict[str, Any]) -> None:
    """Print the tables of payments."""
    print(
        "| payments | frauds | under an alert | card alerts right/wrong | terminal alerts | all |"
    )
    print("|---|---|---|---|---|---|")
    for name, counts in figures.items():
        alerts = counts["alerts"]
        share = _percent(counts["frauds_under_alert"], counts["frauds"])
        cells = [name, counts["frauds"], share, *map(_verdicts, alerts.values())]
        cells.append(_verdicts(added(list(alerts.values()))))
        print("| " + " | ".join(map(str, cells)) + " |")
    kinds = list(next(iter(figures.values()))["kinds"])
    print("\n| cases caught (payments under an alert; minutes) | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for name, counts in figures.items():
        cells = [
            f"{kind['cases_caught']}/{kind['cases']} "
            f"({_percent(kind['under_alert'], kind['payments'])}; {_minutes(kind['delays_ms'])})"
            for kind in counts["kinds"].values()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_roads(figures: dict[str, Any]) -> None:
    """Print the table of roads."""
    kinds = list(next(iter(figures.values()))["alerts"])
    print("\n| roads, right/wrong | " + " | ".join(kinds) + " | incidents caught | minutes |")
    print("|---" * (len(kinds) + 3) + "|")
    for name, counts in figures.items():
        incidents = counts["incidents"]
        cells = [_verdicts(kind) for kind in counts["alerts"].values()]
        cells.append(f"{incidents['caught']} of {incidents['seen']}, {incidents['all']} in all")
        print(f"| {name} | " + " | ".join(cells) + f" | {_minutes(incidents['delays_ms'])} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1001,1002,1003,1004,1005")
    parser.add_argument("--only", choices=["fraud", "traffic"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    figures = {}
    if given.only != "traffic":
        figures["fraud"] = fraud_figures(seeds)
    if given.only != "fraud":
        figures["traffic"] = road_figures(seeds)
    if given.json:
        print(json.dumps({"seeds": seeds} | figures))
        return
    if "fraud" in figures:
        print_fraud(figures["fraud"])
    if "traffic" in figures:
        print_roads(figures["traffic"])


if __name__ == "__main__":
    main()
