"""Every figure of docs/models.md that public data give, made anew by the commands a user has.

    python -m benchmarks.evaluate_all [--data ../shared/data] [--seeds 0,1,2] [--only fraud]
        [--files-only]

fraud    `train fraud` by the handbook's protocol, for each seed, and the mean of three networks
         that imitates it; the last one's figures once more from scores that a worker wrote to a
         real Kafka (`benchmarks/through_kafka.py`)
traffic  los-loop in the project's own form, then `train traffic` for each seed; the features once
         more from Kafka (`benchmarks/roads_through_kafka.py`)
nab      the configurations that were written down beforehand; the pipeline's own once more from
         Kafka

What came through Kafka must be the file's, bit for bit, or the exit code is 1; --files-only leaves
Kafka out. Prints one JSON value with means over the seeds, and every single run under it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.los_loop import write_los_loop
from benchmarks.nab_given import CONFIGURATIONS
from benchmarks.nab_given import measure as measure_nab
from benchmarks.roads_through_kafka import roads_through_kafka
from benchmarks.through_kafka import asked, through_kafka

FRAUD_FILE = "handbook-fraud/transactions_2018-04-01_2018-08-14.parquet"
FIELDS = (
    "transaction_id=TRANSACTION_ID,event_time=TX_DATETIME,customer_id=CUSTOMER_ID,"
    "terminal_id=TERMINAL_ID,amount=TX_AMOUNT"
)
FRAUD = (
    *("train", "fraud", "--labels", "TX_FRAUD", "--delay", "7d"),
    *("--train", "2018-07-25..2018-07-31", "--test", "2018-08-08..2018-08-14"),
    "--fields",
    FIELDS,
)
NETWORKS = ("--distil", "--networks", "3")
THROUGH_KAFKA = "through_kafka"
DIFFER = ("scores_that_differ", "readings_that_differ")


def run(*words: str) -> dict[str, Any]:
    """Run the command line and return what it says."""
    command = [sys.executable, "-c", "from stream_infer.cli import main; main()", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own
    said: dict[str, Any] = json.loads(done.stdout)
    if done.returncode:
        raise RuntimeError(said)
    return said


def fraud(data: Path, out: Path, seeds: Sequence[str], *, streamed: bool) -> dict[str, Any]:
    """Return the figures of the model found best, and of the network that imitates it.

    streamed  whether a worker scores the file through Kafka with the last seed's network, too
    """
    runs = []
    folder = ""
    for seed in seeds:
        said = run(
            *FRAUD, *NETWORKS, "--data", str(data / FRAUD_FILE), "--seed", seed, "--out", str(out)
        )
        folder = said["folder"]
        names = ("auc", "average_precision", "card_precision_100")
        runs.append(
            {
                "kind": said["kind"],
                "teacher": said["teacher"],
                "network": {name: said[name] for name in names},
                "validation": {name: said["tried"][0][name] for name in names},
                "parity": said["parity"],
                "sha256": said["sha256"],
            }
        )
    means = {
        who: {
            name: round(float(np.mean([each[who][name] for each in runs])), 4)
            for name in runs[0]["network"]
        }
        for who in ("teacher", "network", "validation")
    }
    found: dict[str, Any] = {"mean": means, "runs": runs}
    if streamed:
        found[THROUGH_KAFKA] = through_kafka(Path(folder), *asked(data / FRAUD_FILE, FIELDS))
    return found


def traffic(data: Path, out: Path, seeds: Sequence[str], *, streamed: bool) -> dict[str, Any]:
    """Return errors in mph by horizon; `streamed`: compare features with those from Kafka, too."""
    runs = []
    with tempfile.TemporaryDirectory(prefix="los-loop-") as folder:
        readings, table = write_los_loop(data / "traffic-los-loop", Path(folder))
        words = ("train", "traffic", "--data", str(readings), "--sensors", str(table))
        for seed in seeds:
            said = run(*words, "--seed", seed, "--out", str(out))
            runs.append({name: said[name] for name in ("rmse", "mae", "in_band", "settings")})
    means = {
        kind: {
            name: round(float(np.mean([each[kind][name] for each in runs])), 3)
            for name in runs[0][kind]
        }
        for kind in ("rmse", "mae")
    }
    found: dict[str, Any] = {"mean": means, "runs": runs}
    return found | (roads_from_kafka(data, "traffic") if streamed else {})


def nab(data: Path, out: Path, seeds: Sequence[str], *, streamed: bool) -> dict[str, Any]:
    """Return the scores of each configuration; nothing is drawn, so no seed matters."""
    del out, seeds
    found: dict[str, Any] = {
        name: measure_nab(data / "nab", depth, mix=mix)
        for name, (depth, mix) in CONFIGURATIONS.items()
    }
    return found | (roads_from_kafka(data, "nab") if streamed else {})


def roads_from_kafka(data: Path, part: str) -> dict[str, Any]:
    """Return how features that came through Kafka differ from those of the file."""
    return {THROUGH_KAFKA: roads_through_kafka(data, [part])[part]}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "fraud": fraud,
    "traffic": traffic,
    "nab": nab,
}


def main() -> None:
    """Run the parts and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("STREAM_INFER_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--files-only", action="store_true", help="nothing through Kafka")
    given = parser.parse_args()
    chosen = [given.only] if given.only else list(PARTS)
    seeds = given.seeds.split(",")
    found = {
        name: PARTS[name](given.data, given.out, seeds, streamed=not given.files_only)
        for name in chosen
    }
    print(json.dumps(found, indent=1))
    streamed = [each.get(THROUGH_KAFKA, {}) for each in found.values()]
    if any(each.get(name) for each in streamed for name in DIFFER):
        sys.exit(1)


if __name__ == "__main__":
    main()
