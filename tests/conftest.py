"""Fixtures that every area of the tests may ask for; what they do stands in tests/support."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.kafka import session_broker


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of a real Kafka, one for the whole session."""
    yield from session_broker()
