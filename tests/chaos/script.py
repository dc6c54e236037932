"""What happens to a pipeline in one seeded run. Pure: the same seed, the same script."""

from __future__ import annotations

import random
from dataclasses import dataclass

FAULTS_EVERYWHERE = (
    "kill_worker",
    "zombie",
    "stall",
    "terminate_worker",
    "add_worker",
    "remove_worker",
    "kill_broker",
    "cut_line",
    "slow_line",
    "refused_output",
    "clock_jump",
)
FAULTS_OF_FOLDERS = ("disk_full",)
FAULTS_OF_TRANSACTIONS = ("fence_owner", "expired_id")
FAULTS_OF_CLUSTERS = (
    "kill_group_coordinator",
    "kill_transaction_coordinator",
    "kill_partition_leader",
    "roll_brokers",
)
RESTARTS = frozenset({"kill_broker", *FAULTS_OF_CLUSTERS})
"""Faults after which a broker starts again."""
CLUSTER_EVERY = 4
"""One seed in so many runs on three brokers."""
STATIC_EVERY = 3
"""One seed in so many has static members: who replaces a worker fences it by its name."""
FOLDER_EVERY = 5
"""One seed in so many keeps its checkpoints in a folder, whose disk is full at some time."""
FAULTS_MIN, FAULTS_MAX = 6, 9
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One fault.

    wait_s  how long everything runs undisturbed before it
    fault   its name
    draw    0 to 1, from which whoever carries it out takes victim and length
    """

    wait_s: float
    fault: str
    draw: float


@dataclass(frozen=True, slots=True)
class Script:
    """One run.

    seed     from which everything is drawn
    nodes    of the Kafka cluster
    workers  at the beginning
    steps    the faults, in order
    static   whether the workers are static members of the group
    folder   whether checkpoints are in a folder
    """

    seed: int
    nodes: int
    workers: int
    steps: tuple[Step, ...]
    static: bool = False
    folder: bool = False

    @property
    def seconds(self) -> float:
        """How long the load flows, at the least."""
        return sum(step.wait_s for step in self.steps) + 3.0

    @property
    def restarts_brokers(self) -> bool:
        """Whether a broker is away for a while."""
        return any(step.fault in RESTARTS for step in self.steps)

    def has(self, fault: str) -> bool:
        """Say whether a fault occurs."""
        return any(step.fault == fault for step in self.steps)


def script_of(seed: int, *, delivery: str, steps: int | None = None) -> Script:
    """Return the run of a seed.

    delivery  which faults there can be: nobody fences where there are no transactions
    steps     number of faults, in place of a drawn one
    """
    chance = random.Random(seed)
    nodes = 3 if seed % CLUSTER_EVERY == 0 else 1
    known = [*FAULTS_EVERYWHERE]
    if delivery == "exactly_once":
        known += FAULTS_OF_TRANSACTIONS
    if nodes > 1:
        known += FAULTS_OF_CLUSTERS
        known.remove("kill_broker")
        if delivery != "exactly_once":
            known.remove("kill_transaction_coordinator")
    count = steps or chance.randint(FAULTS_MIN, FAULTS_MAX)
    # Without replacement first, so that few seeds show every fault; kills are worth more.
    chosen = chance.sample(known, min(count, len(known)))
    required = ["kill_worker"]
    folder = seed % FOLDER_EVERY == 0
    if folder:
        required.append("disk_full")
    if nodes > 1:
        there = [fault for fault in FAULTS_OF_CLUSTERS if fault in known]
        required.append(there[seed // CLUSTER_EVERY % len(there)])
    _put_in(chosen, required)
    chance.shuffle(chosen)
    made = tuple(Step(chance.uniform(0.5, 3.0), fault, chance.random()) for fault in chosen)
    return Script(seed, nodes, WORKERS, made, static=seed % STATIC_EVERY == 0, folder=folder)


def _put_in(chosen: list[str], required: list[str]) -> None:
    """Have what is required among the chosen, in place of the first ones that are not."""
    free = [at for at, fault in enumerate(chosen) if fault not in required]
    for at, fault in zip(free, [each for each in required if each not in chosen], strict=False):
        chosen[at] = fault
