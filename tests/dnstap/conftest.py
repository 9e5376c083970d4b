"""A clock that jumps: waiting costs a test nothing. A disk that fills up. A socket to dial."""

from pathlib import Path

import pytest
from trio.testing import MockClock

from dnsproxy.dnstap.destination import Destination
from tests.dnstap.disk import Disk


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def unix(tmp_path: Path) -> Destination:
    """Where a collector may listen."""
    return Destination("unix", path=str(tmp_path / "tap.sock"))
