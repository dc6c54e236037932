"""Run many seeds: ``PYTHONPATH=tests:. python -m simulation.run --seeds 5000 --first-seed 1``."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from typing import get_args

import structlog

from simulation.script import simulate
from stream_infer.settings.worker import Delivery


def main() -> int:
    """Run the seeds, print each that is wrong and a line that sums up; 1 if any is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--delivery", choices=get_args(Delivery))
    parser.add_argument("--verbose", action="store_true", help="show the log")
    options = parser.parse_args()
    level = logging.DEBUG if options.verbose else logging.CRITICAL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    logging.basicConfig(level=level)
    deliveries = [options.delivery] if options.delivery else get_args(Delivery)
    began, wrong, records, commits, kept, faults, checkpoints = (
        time.process_time(),
        [],
        0,
        0,
        0,
        0,
        0,
    )
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for delivery in deliveries:
            try:
                story = simulate(seed, delivery)
            except Exception:  # noqa: BLE001 - shown, and counted
                wrong.append((seed, delivery))
                if len(wrong) <= 5 or options.verbose:
                    traceback.print_exc()
                continue
            records += story.records
            commits += story.commits
            kept += story.kept
            faults += story.faults
            checkpoints += story.checkpoints
    print(  # noqa: T201 - what it is run for
        f"{options.seeds} seeds from {options.first_seed}: {len(wrong)} wrong {wrong[:20]}; "
        f"{records} records, {commits} commits checked, {kept} states kept, "
        f"{checkpoints} checkpoints, {faults} faults, "
        f"{time.process_time() - began:.0f} s of processor time"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
