"""Fixtures that every area of the tests may ask for; what they do stands in tests/support."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.kafka import session_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of a real Kafka, one for the whole session."""
    yield from session_broker()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, begin with those on a real Kafka.

    Their files take longest, and one that begins last is what the other processes wait for.
    """
    if not hasattr(config, "workerinput"):
        return
    long = {item.path for item in items if _is_long(item)}
    items.sort(key=lambda item: item.path not in long)


def _is_long(item: pytest.Item) -> bool:
    if {"kafka", "secured"} & set(getattr(item, "fixturenames", ())):
        return True
    return any(item.get_closest_marker(name) for name in ("kafka", "slow"))
