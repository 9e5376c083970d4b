"""What stands beside a datagram: the address that was asked, and when it came."""

import socket
import struct
import time

import pytest

from dnsproxy import datagram
from dnsproxy.datagram import DatagramReceiver, DatagramSender, Receiver
from tests.datagram.sockets import RECEIVERS, SENDERS, V4, V6, Sockets, content, name_of


@RECEIVERS
@SENDERS
@pytest.mark.parametrize(
    ("host", "level", "option"),
    [
        ("0.0.0.0", socket.IPPROTO_IP, getattr(socket, "IP_PKTINFO", 8)),
        ("::", socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
    ],
)
def test_ancillary_data_say_which_address_was_asked_and_choose_the_one_that_answers(
    receiver: DatagramReceiver, sender: DatagramSender, host: str, level: int, option: int, bound: Sockets
) -> None:
    ours = bound(host)
    ours.setsockopt(level, option, 1)
    port = ours.getsockname()[1]
    asked = ["127.0.0.1", "127.0.0.2", "127.0.0.1"] if host != "::" else ["::1", "::1", "::1"]
    clients = [bound(V6 if host == "::" else V4) for _ in asked]
    for client, address in zip(clients, asked, strict=True):
        client.sendto(address.encode(), (address, port))
    wires, names, controls, _ = receiver.receive_controlled(ours, ours.fileno(), ours.family)
    assert [octets.decode() for octets in wires] == asked
    assert names == [name_of(client) for client in clients]
    family = socket.AF_INET6 if host == "::" else socket.AF_INET
    for control, address in zip(controls, asked, strict=True):
        assert socket.inet_pton(family, address) in control
    assert sender.send(ours, ours.fileno(), wires, names, controls) == (3, 0)
    for client, address in zip(clients, asked, strict=True):
        assert client.recvfrom(100)[1][:2] == (address, port)


@SENDERS
def test_some_of_a_batch_may_have_no_ancillary_data(sender: DatagramSender, bound: Sockets) -> None:
    ours, theirs = bound("0.0.0.0"), bound()
    kind = getattr(socket, "IP_PKTINFO", 8)
    from_two = datagram._pack_control(socket.IPPROTO_IP, kind, struct.pack("=I", 0) + b"\x7f\0\0\2" + b"\0" * 4)
    names = [name_of(theirs)] * 3
    assert sender.send(ours, ours.fileno(), [b"1", b"2", b"3"], names, [from_two, b"", from_two]) == (3, 0)
    assert [theirs.recvfrom(10)[1][0] for _ in range(3)] == ["127.0.0.2", "127.0.0.1", "127.0.0.2"]


STAMPING_S = 0.1  # the kernel begins to stamp a moment after the first socket of the machine has asked for it


@RECEIVERS
def test_the_kernel_says_when_each_datagram_came_not_when_it_was_read(
    receiver: DatagramReceiver, bound: Sockets
) -> None:
    ours, theirs = bound(), bound()
    is_stamped = datagram.stamp(ours)
    assert is_stamped == datagram.BATCHED
    time.sleep(STAMPING_S)
    before_ns = time.time_ns()
    for number in range(3):
        theirs.sendto(content(10, number), ours.getsockname())
    sent_ns = time.time_ns()
    time.sleep(0.02)
    wires, names, times = receiver.receive_stamped(ours, ours.fileno(), ours.family)
    assert (wires, names) == ([content(10, number) for number in range(3)], [name_of(theirs)] * 3)
    if isinstance(receiver, Receiver):
        assert before_ns <= times[0] <= times[1] <= times[2] <= sent_ns
    else:
        assert times[0] >= sent_ns


@RECEIVERS
def test_a_connected_socket_has_times_too_and_a_socket_without_stamps_says_now(
    receiver: DatagramReceiver, bound: Sockets
) -> None:
    ours, theirs = bound(), bound()
    ours.connect(theirs.getsockname())
    theirs.sendto(b"early", ours.getsockname())
    between_ns = time.time_ns()
    wires, times = receiver.receive_connected_stamped(ours, ours.fileno())
    assert wires == [b"early"]
    assert times[0] >= between_ns
    datagram.stamp(ours)
    time.sleep(STAMPING_S)
    theirs.sendto(b"late", ours.getsockname())
    sent_ns = time.time_ns()
    time.sleep(0.01)
    wires, times = receiver.receive_connected_stamped(ours, ours.fileno())
    assert wires == [b"late"]
    assert (times[0] <= sent_ns) == isinstance(receiver, Receiver)
    assert receiver.receive_connected_stamped(ours, ours.fileno()) == ([], [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_time_stamp_stands_beside_the_address_that_was_asked(host: str, bound: Sockets) -> None:
    ours = bound(host)
    level, option = (socket.IPPROTO_IP, getattr(socket, "IP_PKTINFO", 8))
    if host == "::":
        level, option = socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO
    ours.setsockopt(level, option, 1)
    client = bound(V6 if host == "::" else V4)
    asked = (V6 if host == "::" else V4, ours.getsockname()[1])
    receiver = datagram.make_receiver()
    client.sendto(b"before", asked)
    without = receiver.receive_controlled(ours, ours.fileno(), ours.family)
    datagram.stamp(ours)
    time.sleep(STAMPING_S)
    client.sendto(b"after", asked)
    sent_ns = time.time_ns()
    with_stamp = receiver.receive_controlled(ours, ours.fileno(), ours.family)
    assert without[2] == with_stamp[2]
    assert without[3][0] <= with_stamp[3][0] <= sent_ns + (0 if datagram.BATCHED else 10**9)
