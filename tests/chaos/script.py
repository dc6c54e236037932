"""What happens to a pipeline in one seeded run. Pure: the same seed, the same script."""

from __future__ import annotations

import random
from collections.abc import Mapping
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
)
FAULTS_OF_TRANSACTIONS = ("fence_owner", "expired_id")
FAULTS_OF_CLUSTERS = (
    "kill_group_coordinator",
    "kill_transaction_coordinator",
    "kill_partition_leader",
    "roll_brokers",
)
RESTARTS = frozenset({"kill_broker", *FAULTS_OF_CLUSTERS})
"""Faults after which a broker starts again."""
NOT_DONE: Mapping[str, str] = {
    "clock jumps": "a process cannot be given another clock without a library that is not here",
    "disk full on a checkpoint folder": "the workers of a run keep their checkpoints in Kafka",
}
"""Faults that the harness does not have -> why."""

CLUSTER_EVERY = 4
"""One seed in so many runs on three brokers."""
STATIC_EVERY = 3
"""One seed in so many has static members: who replaces a worker fences it by its name."""
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
    """

    seed: int
    nodes: int
    workers: int
    steps: tuple[Step, ...]
    static: bool = False

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
    if nodes > 1 and not set(chosen) & set(FAULTS_OF_CLUSTERS):
        chosen[-1] = chance.choice([fault for fault in FAULTS_OF_CLUSTERS if fault in known])
    if "kill_worker" not in chosen:
        chosen[0] = "kill_worker"
    chance.shuffle(chosen)
    made = tuple(Step(chance.uniform(0.5, 3.0), fault, chance.random()) for fault in chosen)
    return Script(seed, nodes, WORKERS, made, static=seed % STATIC_EVERY == 0)
