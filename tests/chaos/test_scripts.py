"""The scripts of faults: the same from the same seed, and every fault in twenty of them."""

from __future__ import annotations

import pytest

from chaos.script import (
    FAULTS_EVERYWHERE,
    FAULTS_OF_CLUSTERS,
    FAULTS_OF_FOLDERS,
    FAULTS_OF_TRANSACTIONS,
    script_of,
)

SEEDS = range(1, 21)


@pytest.mark.parametrize("seed", [1, 7, 4])
def test_a_seed_always_gives_the_same_script(seed: int) -> None:
    assert script_of(seed, delivery="exactly_once") == script_of(seed, delivery="exactly_once")


def test_a_quarter_of_the_seeds_run_on_three_brokers() -> None:
    sizes = [script_of(seed, delivery="exactly_once").nodes for seed in SEEDS]
    assert sizes.count(3) * 4 >= len(SEEDS)


def test_a_third_of_the_seeds_has_static_members_on_clusters_too() -> None:
    static = [script_of(seed, delivery="exactly_once") for seed in SEEDS if seed % 3 == 0]
    assert all(script.static for script in static)
    assert {script.nodes for script in static} == {1, 3}


def test_twenty_seeds_hold_every_fault() -> None:
    scripts = [script_of(seed, delivery="exactly_once") for seed in SEEDS]
    found = {step.fault for script in scripts for step in script.steps}
    assert found == {
        *FAULTS_EVERYWHERE,
        *FAULTS_OF_FOLDERS,
        *FAULTS_OF_TRANSACTIONS,
        *FAULTS_OF_CLUSTERS,
    }


def test_a_disk_is_full_exactly_where_checkpoints_are_on_one() -> None:
    scripts = [script_of(seed, delivery="exactly_once") for seed in SEEDS]
    assert [script.has("disk_full") for script in scripts] == [s.folder for s in scripts]
    assert sum(script.folder for script in scripts) == len(SEEDS) / 5


def test_every_script_kills_a_worker() -> None:
    assert all(script_of(seed, delivery="at_least_once").has("kill_worker") for seed in SEEDS)


def test_nobody_is_fenced_where_there_are_no_transactions() -> None:
    for seed in SEEDS:
        faults = {step.fault for step in script_of(seed, delivery="at_least_once").steps}
        assert not faults & {*FAULTS_OF_TRANSACTIONS, "kill_transaction_coordinator"}
