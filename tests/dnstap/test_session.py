"""What a session with a collector tells when it has failed."""

import errno
import socket

import pytest

from dnsproxy.dnstap.framestreams import ProtocolError
from dnsproxy.dnstap.session import reason_of


def _several(first: Exception) -> OSError:
    error = OSError("all attempts to connect failed")
    error.__cause__ = ExceptionGroup("of each address", [first, OSError(errno.ENETUNREACH, "away")])
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "by collector.example.org"), "Connection refused"),
        (_several(ConnectionRefusedError(errno.ECONNREFUSED, "by the first")), "Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (TimeoutError("no ACCEPT within 5 s"), "no ACCEPT within 5 s"),
        (ProtocolError("data from the receiver"), "data from the receiver"),
        (ConnectionError(), "ConnectionError"),
    ],
)
def test_a_reason_has_few_words_and_no_number(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
