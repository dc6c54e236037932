"""What routing, counting and a shadow cost beside scoring, in CPU time.

    python benchmarks/serving.py

Batches of the fraud pipeline's features, as many rows as a busy worker scores together, through
the model that ships: alone, through a router, through one that counts for the guard, with a
challenger for 5 % of the keys, and with a shadow.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stream_infer.features.plan import compile_plan
from stream_infer.models.ready import ready_model_dir
from stream_infer.pipelines.fraud import pipeline
from stream_infer.scoring.session import Scorer
from stream_infer.serving.router import Router, Serving

ROWS = (16, 256, 2_048)
REPEATS = 7


def main() -> None:
    """Print µs a batch and the share that each adds."""
    plan = compile_plan(pipeline)
    scorers = [
        Scorer(ready_model_dir("fraud"), plan.feature_names, plan.fingerprint) for _ in range(2)
    ]
    champion, other = scorers
    random = np.random.default_rng(1)
    for rows in ROWS:
        matrix = random.uniform(0, 100, (rows, len(plan.feature_names)))
        keys = [f"customer-{n}" for n in range(rows)]
        routers = {
            "routed": Router(Serving(champion)),
            "counted": Router(Serving(champion), counts=True),
            "challenger 5 %": Router(Serving(champion, other, 0.05), counts=True),
            "shadow": Router(Serving(champion, shadow=other), counts=True),
        }

        base = microseconds(partial(alone, champion, matrix), rows)
        print(f"{rows:>5} rows  alone           {base:9.1f} µs")
        for name, router in routers.items():
            took = microseconds(partial(router.route, keys, matrix), rows)
            print(f"{rows:>5} rows  {name:<14}  {took:9.1f} µs  {took / base - 1:+.1%}")


def alone(scorer: Scorer, matrix: NDArray[np.float64]) -> None:
    """Score without a router."""
    scorer.decisions(scorer.score(matrix))


def microseconds(run: Callable[[], object], rows: int) -> float:
    """Return the median CPU time of a call."""
    calls = max(20, 40_000 // rows)
    found = []
    run()
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(calls):
            run()
        found.append((time.process_time() - began) / calls * 1e6)
    return statistics.median(found)


if __name__ == "__main__":
    main()
