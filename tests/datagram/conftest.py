"""A receiver and a sender of the form that the test names, and sockets that are closed at its end."""

from collections.abc import Iterator

import pytest

from dnsproxy.datagram import DatagramReceiver, DatagramSender
from tests.datagram.sockets import Sockets


@pytest.fixture(scope="module")
def receiver(request: pytest.FixtureRequest) -> DatagramReceiver:
    made: DatagramReceiver = request.param()
    return made


@pytest.fixture(scope="module")
def sender(request: pytest.FixtureRequest) -> DatagramSender:
    made: DatagramSender = request.param()
    return made


@pytest.fixture
def bound() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    for sock in sockets.made:
        sock.close()
