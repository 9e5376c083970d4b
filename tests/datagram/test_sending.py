"""Batches of datagrams are sent over loopback: whole, in order, and no bad one takes another with it."""

import errno
import socket

from dnsproxy import datagram
from dnsproxy.address import Address
from dnsproxy.datagram import BATCH, DatagramSender, PlainSender
from tests.datagram.sockets import HOSTS, SENDERS, SIZES, V4, V6, Sockets, content, name_of


@SENDERS
@HOSTS
def test_messages_of_any_size_and_number_are_sent_whole_and_in_order(
    sender: DatagramSender, host: str, bound: Sockets
) -> None:
    ours, one, other = bound(host), bound(host), bound(host)
    wires = [content(size, number) for number, size in enumerate(SIZES + [20] * 150)]
    names = [name_of((one, other)[number % 2]) for number in range(len(wires))]
    assert sender.send(ours, ours.fileno(), wires, names, []) == (len(wires), 0)
    for sock, expected in ((one, wires[::2]), (other, wires[1::2])):
        assert [sock.recvfrom(65535) for _ in expected] == [(octets, ours.getsockname()) for octets in expected]


@SENDERS
def test_a_connected_socket_takes_no_names(sender: DatagramSender, bound: Sockets) -> None:
    ours, theirs = bound.pair()
    assert sender.send(ours, ours.fileno(), [b"one", b"two"], [], []) == (2, 0)
    assert [theirs.recv(10), theirs.recv(10)] == [b"one", b"two"]
    assert sender.send(ours, ours.fileno(), [], [], []) == (0, 0)


@SENDERS
def test_sockets_of_both_families_share_a_sender(sender: DatagramSender, bound: Sockets) -> None:
    for host in (V6, V4, V6, V4):
        ours, theirs = bound(host), bound(host)
        assert sender.send(ours, ours.fileno(), [host.encode()], [name_of(theirs)], []) == (1, 0)
        assert theirs.recv(100) == host.encode()


@SENDERS
def test_a_message_that_the_kernel_refuses_stops_the_batch_right_there(sender: DatagramSender, bound: Sockets) -> None:
    ours, theirs = bound(), bound()
    wires = [b"1", b"2", b"x" * 65_508, b"4"]
    names = [name_of(theirs)] * 4
    assert sender.send(ours, ours.fileno(), wires, names, []) == (2, errno.EMSGSIZE)
    assert sender.send(ours, ours.fileno(), wires[3:], names[3:], []) == (1, 0)
    assert [theirs.recv(100) for _ in range(3)] == [b"1", b"2", b"4"]


@SENDERS
def test_a_pending_error_costs_no_message_but_a_second_try(sender: DatagramSender, bound: Sockets) -> None:
    ours, back = bound.refused()
    assert sender.send(ours, ours.fileno(), [b"1", b"2"], [], []) == (0, errno.ECONNREFUSED)
    assert sender.send(ours, ours.fileno(), [b"1", b"2"], [], []) == (2, 0)
    assert [back.recv(100), back.recv(100)] == [b"1", b"2"]


@SENDERS
def test_a_kernel_without_room_takes_a_part_and_says_so(sender: DatagramSender) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        wires = [b"%d" % number for number in range(10_000)]
        sent, code = sender.send(ours, ours.fileno(), wires, [], [])
        assert 0 < sent < len(wires)
        assert code == errno.EAGAIN
        assert [theirs.recv(100) for _ in range(sent)] == wires[:sent]


def test_a_batch_larger_than_the_arena_is_cut() -> None:
    assert datagram.SEND_ARENA < 9 * 65_000 < BATCH * 65_000
    assert datagram.SEND_ARENA >= 65_535


def test_an_address_of_another_kind_is_no_trouble(bound: Sockets) -> None:
    ours = bound()
    assert PlainSender().send(ours, ours.fileno(), [b"x"], [Address.of("192.0.2.1", 0).sockaddr], []) == (
        0,
        errno.EINVAL,
    )
