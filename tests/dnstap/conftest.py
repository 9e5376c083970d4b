"""A clock that jumps: waiting costs a test nothing. A disk that fills up."""

import pytest
from trio.testing import MockClock

from tests.dnstap.disk import Disk


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)
