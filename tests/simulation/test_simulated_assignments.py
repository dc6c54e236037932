"""Partitions that come and go at any turn of the event loop, by seed, without a Kafka.

`simulation.run` runs as many seeds as one likes; here are some, and the proof that faults and
states that come back are among them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import get_args

import pytest
import structlog

from simulation.script import Story, simulate
from stream_infer.settings.worker import Delivery

SEEDS = int(os.environ.get("STREAM_INFER_SIMULATION_SEEDS", "120"))
"""How many seeds of each delivery; `SEEDS` a second of processor time are about ten of both."""

PART = 20


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Write no log: a seed makes hundreds of lines of it, and that takes most of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("delivery", get_args(Delivery))
@pytest.mark.parametrize("first", range(1, SEEDS + 1, PART))
def test_every_record_is_worked_on_as_if_nothing_had_happened(
    first: int, delivery: Delivery
) -> None:
    stories = [simulate(seed, delivery) for seed in range(first, min(first + PART, SEEDS + 1))]
    assert sum(story.commits for story in stories) > len(stories)
    assert sum(story.kept for story in stories) > len(stories)


def test_a_seed_tells_the_same_story_each_time() -> None:
    assert _told(simulate(7, "exactly_once")) == _told(simulate(7, "exactly_once"))


def _told(story: Story) -> tuple[object, ...]:
    return story.steps, story.records, story.commits, story.kept, story.faults
