"""Batches of datagrams are read over loopback: whole, in order, each with its sender."""

import errno
import socket

import pytest

from dnsproxy import datagram
from dnsproxy.datagram import BATCH, DatagramReceiver, DatagramSender, PlainReceiver, Receiver, Sender
from tests.datagram.sockets import HOSTS, RECEIVERS, SENDERS, SIZES, V4, V6, Sockets, content, name_of
from tests.support.raw import send_from_port_0


@RECEIVERS
@HOSTS
def test_messages_of_any_size_are_read_whole_with_their_senders(
    receiver: DatagramReceiver, host: str, bound: Sockets
) -> None:
    ours, one, other = bound(host), bound(host), bound(host)
    sent = []
    for number, size in enumerate(SIZES):
        source = (one, other)[number % 2]
        source.sendto(content(size, number), ours.getsockname())
        sent.append((content(size, number), name_of(source)))
    wires, names = receiver.receive(ours, ours.fileno(), ours.family)
    assert list(zip(wires, names, strict=True)) == sent
    assert receiver.receive(ours, ours.fileno(), ours.family) == ([], [])


@RECEIVERS
def test_a_batch_has_a_bound_and_the_rest_comes_with_the_next(receiver: DatagramReceiver, bound: Sockets) -> None:
    ours, theirs = bound.pair()
    for number in range(BATCH + 5):
        theirs.send(b"%d" % number)
    assert receiver.receive_connected(ours, ours.fileno()) == [b"%d" % number for number in range(BATCH)]
    assert receiver.receive_connected(ours, ours.fileno()) == [b"%d" % number for number in range(BATCH, BATCH + 5)]
    assert receiver.receive_connected(ours, ours.fileno()) == []


@RECEIVERS
def test_what_was_read_stays_what_it_was_when_the_next_batch_comes(receiver: DatagramReceiver, bound: Sockets) -> None:
    ours, theirs = bound.pair()
    theirs.send(b"first")
    first = receiver.receive_connected(ours, ours.fileno())
    theirs.send(b"again")
    receiver.receive_connected(ours, ours.fileno())
    assert first == [b"first"]


@RECEIVERS
def test_sockets_of_both_families_share_an_arena(receiver: DatagramReceiver, bound: Sockets) -> None:
    ours = {host: bound(host) for host in (V4, V6)}
    theirs = {host: bound(host) for host in (V4, V6)}
    for host in (V6, V4, V6, V4, V4, V6):
        theirs[host].sendto(host.encode(), ours[host].getsockname())
        wires, names = receiver.receive(ours[host], ours[host].fileno(), ours[host].family)
        assert wires == [host.encode()]
        assert names == [name_of(theirs[host])], "padded with zeros whatever was there before"


def test_the_octets_behind_an_ipv4_sockaddr_are_always_zero(bound: Sockets) -> None:
    receiver = Receiver()
    ours, theirs = bound(), bound()
    for _ in range(3):
        theirs.sendto(b"!", ours.getsockname())
        receiver.receive_controlled(ours, ours.fileno(), ours.family)
        theirs.sendto(b"!", ours.getsockname())
        (name,) = receiver.receive(ours, ours.fileno(), ours.family)[1]
        assert name == name_of(theirs)


@RECEIVERS
def test_a_pending_error_is_raised_once_and_hides_no_datagram(receiver: DatagramReceiver, bound: Sockets) -> None:
    ours, back = bound.refused()
    back.sendto(b"here again", ours.getsockname())
    with pytest.raises(ConnectionRefusedError):
        receiver.receive_connected(ours, ours.fileno())
    assert receiver.receive_connected(ours, ours.fileno()) == [b"here again"]


def test_the_plain_form_keeps_what_it_had_when_an_error_comes() -> None:
    class Failing(socket.socket):
        left = 2

        def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, object]:
            self.left -= 1
            if self.left < 0:
                raise ConnectionRefusedError
            return b"!", [], 0, None

    with Failing(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert PlainReceiver().receive_connected(sock, sock.fileno()) == [b"!", b"!"]
        with pytest.raises(ConnectionRefusedError):
            PlainReceiver().receive_connected(sock, sock.fileno())


@RECEIVERS
@pytest.mark.parametrize("method", ["receive", "receive_connected", "receive_controlled"])
def test_a_descriptor_that_is_no_socket_is_an_os_error(receiver: DatagramReceiver, method: str, bound: Sockets) -> None:
    sock = bound()
    fd = sock.fileno()
    sock.close()
    arguments = (sock, fd) if method == "receive_connected" else (sock, fd, socket.AF_INET)
    with pytest.raises(OSError, match=r"\w"):
        getattr(receiver, method)(*arguments)


@RECEIVERS
@SENDERS
def test_a_datagram_from_port_0_shows_as_such_and_cannot_be_answered(
    receiver: DatagramReceiver, sender: DatagramSender, bound: Sockets
) -> None:
    ours, theirs = bound(), bound()
    theirs.sendto(b"before", ours.getsockname())
    send_from_port_0(ours.getsockname(), b"nowhere")
    theirs.sendto(b"behind", ours.getsockname())
    wires, names = receiver.receive(ours, ours.fileno(), ours.family)
    assert wires == [b"before", b"nowhere", b"behind"]
    assert [name[2:4] == b"\0\0" for name in names] == [False, True, False]
    assert sender.send(ours, ours.fileno(), wires, names, []) == (1, errno.EINVAL)
    assert sender.send(ours, ours.fileno(), wires[2:], names[2:], []) == (1, 0)
    assert [theirs.recv(100), theirs.recv(100)] == [b"before", b"behind"]


def test_this_system_has_the_batched_form() -> None:
    assert isinstance(datagram.make_receiver(), Receiver) == isinstance(datagram.make_sender(), Sender)
    assert isinstance(datagram.make_receiver(), Receiver) == datagram.BATCHED
