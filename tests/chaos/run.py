"""``make chaos SEEDS=20 FIRST_SEED=1``: runs with seeded faults on a real Kafka, each judged.

The last line sums up; the exit code is 1 when anything was lost, doubled or different. One
run alone: ``make chaos SEEDS=1 FIRST_SEED=7``.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import time

from chaos.child import PLANTS
from chaos.session import Outcome, Plan, run_seed


def main() -> int:
    """Run the seeds and return the exit code."""
    asked = _arguments()
    # The clients' own lines about a broker that was killed on purpose help nobody.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    red, doubled, events = [], 0, 0
    began = time.monotonic()
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        plan = Plan(
            seed=seed,
            delivery=asked.delivery,
            judged_as=asked.judged_as,
            plants=asked.plant,
            rate=asked.rate,
            session_s=asked.session_s,
            settings=dict(each.split("=", 1) for each in asked.set),
        )
        outcome = asyncio.run(run_seed(plan))
        _tell(outcome)
        books, recomputed = outcome.verdict.audited, outcome.verdict.recomputed
        events += 0 if books is None else books.records
        doubled += 0 if recomputed is None else recomputed.twice
        if outcome.red:
            red.append(seed)
        else:
            shutil.rmtree(outcome.folder, ignore_errors=True)
    verdict = f"red: {', '.join(map(str, red))}" if red else "all proven"
    print(
        f"chaos: {asked.seeds} seeds from {asked.first_seed}, {asked.delivery}, {events:,} events, "
        f"outputs twice {doubled:,}, {time.monotonic() - began:.0f} s: {verdict}"
    )
    return 1 if red else 0


def _tell(outcome: Outcome) -> None:
    print(outcome.line(), flush=True)
    for ended in outcome.ended:
        print(f"    {ended}", flush=True)
    for problem in outcome.verdict.problems:
        print(f"    {problem}", flush=True)
    if outcome.red:
        print(f"    logs of the workers: {outcome.folder}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=300, help="payments a second")
    parser.add_argument(
        "--delivery", choices=["at_least_once", "exactly_once"], default="exactly_once"
    )
    parser.add_argument(
        "--judged-as",
        choices=["at_least_once", "exactly_once"],
        help="what the judge expects; other than --delivery, to see that it sees",
    )
    parser.add_argument("--session-s", type=float, default=4.0, help="session time-out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the workers"
    )
    parser.add_argument(
        "--plant", action="append", default=[], choices=sorted(PLANTS), help="a planted fault"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
