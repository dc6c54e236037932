"""What tests of logs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.logs_put_back import logs_put_back


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    with logs_put_back():
        yield
