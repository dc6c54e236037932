"""One Kafka with certificates, users and ACLs for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.secure_kafka import SecureKafka, secure_kafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """Yield a real Kafka with certificates, users and ACLs."""
    with secure_kafka(tmp_path_factory.mktemp("certificates")) as kafka:
        yield kafka
