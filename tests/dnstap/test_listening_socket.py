"""Where collectors dial in: addresses of every kind, and why one cannot be had."""

import socket
import stat
from pathlib import Path

import pytest
from trio.testing import trio_test

from dnsproxy.dnstap.destination import ListenUrl
from dnsproxy.dnstap.listening_socket import ListenError, ListeningSocket
from dnsproxy.listen_address import host_port
from tests.dnstap.dialer import dial
from tests.support.ports import ipv6_is_here

V6 = pytest.mark.skipif(not ipv6_is_here(), reason="no IPv6 on this machine")


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ("tcp://127.0.0.1:0", ["127.0.0.1"]),
        ("tcp://localhost:0", ["127.0.0.1"]),
        ("tls://0.0.0.0:0", ["127.0.0.1"]),
        pytest.param("tcp://[::1]:0", ["::1"], marks=V6),
        pytest.param("tcp://[::]:0", ["::1", "127.0.0.1"], marks=V6),
    ],
)
def test_port_zero_becomes_a_port_at_which_somebody_answers(written: str, reached: list[str]) -> None:
    listening = ListeningSocket(ListenUrl.from_toml(written))
    assert str(listening.url).rpartition(":")[0] == written.rpartition(":")[0]
    for host in reached:
        socket.create_connection((host, listening.url.port), timeout=5).close()
    listening.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((reached[0], listening.url.port), timeout=5)


def test_a_port_that_was_just_in_use_can_be_had_again() -> None:
    first = ListeningSocket(ListenUrl.from_toml("tcp://127.0.0.1:0"))
    with socket.create_connection((first.url.host, first.url.port), timeout=5):
        first.close()
        ListeningSocket(first.url).close()


def test_a_taken_port_and_an_address_of_another_machine_are_errors_of_one_line() -> None:
    first = ListeningSocket(ListenUrl.from_toml("tcp://127.0.0.1:0"))
    with pytest.raises(ListenError, match=f"^cannot listen on {first.url}: Address already in use$"):
        ListeningSocket(first.url)
    first.close()
    with pytest.raises(
        ListenError, match=r"^cannot listen on tcp://192\.0\.2\.1:6000: Cannot assign requested address$"
    ):
        ListeningSocket(ListenUrl.from_toml("tcp://192.0.2.1:6000"))


def test_a_unix_socket_is_its_owners_and_groups_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    url = ListenUrl("unix", path=str(tmp_path / "tap.sock"))
    listening = ListeningSocket(url)
    assert stat.S_IMODE((tmp_path / "tap.sock").stat().st_mode) == 0o660
    listening.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_takes_nobody_elses_socket_away(tmp_path: Path) -> None:
    url = ListenUrl("unix", path=str(tmp_path / "tap.sock"))
    old = ListeningSocket(url)
    (tmp_path / "tap.sock").unlink()
    new = ListeningSocket(url)
    old.close()
    old.close()
    assert (tmp_path / "tap.sock").exists()
    new.close()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file or directory"):
        ListeningSocket(ListenUrl("unix", path=str(tmp_path / "no" / "tap.sock")))


@trio_test
async def test_collectors_are_told_apart_in_the_log(tmp_path: Path) -> None:
    for listening, names in [
        (ListeningSocket(ListenUrl("unix", path=str(tmp_path / "tap.sock"))), ["#1", "#2"]),
        (ListeningSocket(ListenUrl.from_toml("tcp://127.0.0.1:0")), []),
    ]:
        for number in range(2):
            async with await dial(listening.url) as stream:
                connection, peer = await listening.accept()
                assert peer == (names[number] if names else host_port(*stream.socket.getsockname()))
                connection.close()
        listening.close()
