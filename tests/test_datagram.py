"""Batches of datagrams over loopback: whole, in order, each with its sender, and no bad one takes another with it."""

import errno
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from dnsproxy import datagram
from dnsproxy.address import Address, sockaddr_of
from dnsproxy.datagram import BATCH, DatagramReceiver, DatagramSender, PlainReceiver, PlainSender, Receiver, Sender

WITHIN_S = 5.0
V4, V6 = "127.0.0.1", "::1"
RECEIVERS = pytest.mark.parametrize("receiver", [Receiver, PlainReceiver], indirect=True)
SENDERS = pytest.mark.parametrize("sender", [Sender, PlainSender], indirect=True)
HOSTS = pytest.mark.parametrize("host", [V4, V6])
SIZES = [0, 1, 4000, 12, 65000, 3, 512, 65000, 7]


@pytest.fixture(scope="module")
def receiver(request: pytest.FixtureRequest) -> DatagramReceiver:
    made: DatagramReceiver = request.param()
    return made


@pytest.fixture(scope="module")
def sender(request: pytest.FixtureRequest) -> DatagramSender:
    made: DatagramSender = request.param()
    return made


class Sockets:
    """Bound loopback sockets with room, closed at the end of the test."""

    def __init__(self) -> None:
        self.made: list[socket.socket] = []

    def __call__(self, host: str = V4, port: int = 0) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.made.append(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((host, port))
        return sock

    def pair(self, host: str = V4) -> tuple[socket.socket, socket.socket]:
        """Two that are connected to each other."""
        one, other = self(host), self(host)
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        return one, other


@pytest.fixture
def bound() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    for sock in sockets.made:
        sock.close()


def name_of(sock: socket.socket) -> bytes:
    return sockaddr_of(sock.getsockname())


def content(size: int, number: int) -> bytes:
    return bytes((number % 256,)) * size


def is_refused(sock: socket.socket) -> None:
    """Wait until the kernel has an error for a connected socket whose peer is gone."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        sock.send(b"is anybody there?")
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED:
            break
    sock.send(b"the error of this one is pending")


# receiving


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
    ours, theirs = bound.pair()
    address = theirs.getsockname()
    theirs.close()
    is_refused(ours)
    back = bound(V4, address[1])
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


def send_from_port_0(destination: tuple[str, int], octets: bytes) -> None:
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("sending from port 0 takes CAP_NET_RAW")
    with raw:
        raw.sendto(struct.pack("!HHHH", 0, destination[1], 8 + len(octets), 0) + octets, destination)


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


# sending


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
    ours, theirs = bound.pair()
    address = theirs.getsockname()
    theirs.close()
    is_refused(ours)
    back = bound(V4, address[1])
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


# ancillary data


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


def test_this_system_has_the_batched_form() -> None:
    assert isinstance(datagram.make_receiver(), Receiver) == isinstance(datagram.make_sender(), Sender)
    assert isinstance(datagram.make_receiver(), Receiver) == datagram.BATCHED


def test_an_address_of_another_kind_is_no_trouble(bound: Sockets) -> None:
    ours = bound()
    assert PlainSender().send(ours, ours.fileno(), [b"x"], [Address.of("192.0.2.1", 0).sockaddr], []) == (
        0,
        errno.EINVAL,
    )


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
