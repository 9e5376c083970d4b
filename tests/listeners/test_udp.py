"""Queries over UDP, a batch at a time: each answered once, from the address that was asked, whatever the others do."""

import errno
import logging
import socket
import struct
from collections.abc import Iterator
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from dnsproxy import config
from dnsproxy.chain import Router
from dnsproxy.datagram import PlainReceiver, PlainSender, Receiver, Sender
from dnsproxy.flight import Flights
from dnsproxy.intake import Intake
from dnsproxy.listeners import udp as udp_module
from dnsproxy.listeners.udp import UdpListener, WildcardUdpListener, bind_udp
from dnsproxy.message import Endpoint, Query, Response
from dnsproxy.plugin import Observer, Plugin
from dnsproxy.wire import make_opt
from tests.support.offline import NoDriver, chain_of, query
from tests.support.raw import send_from_port_0

FORMS = pytest.mark.parametrize("form", [(Receiver, Sender), (PlainReceiver, PlainSender)])


class Sized(Plugin):
    """Answers with a record of as many octets as the first label says, at once."""

    def handle(self, query: Query) -> Response:
        size = int(query.name.split(".")[0])
        record = b"\xc0\x0c\xff\0\0\1\0\0\0\0" + struct.pack("!H", size) + b"\0" * size
        counts = b"\0\1\0\1\0\0" + (b"\0\1" if query.has_opt else b"\0\0")
        opt = make_opt() if query.has_opt else b""
        return Response(query.wire[:2] + b"\x81\x80" + counts + query.shape.question + record + opt)


class Watching(Observer):
    """Keeps what it sees."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.seen: list[tuple[str, Endpoint]] = []
        self.sizes: list[int] = []

    def on_query(self, query: Query) -> None:
        self.seen.append((str(query.client), query.endpoint))

    def on_response(self, query: Query, response: Response) -> None:
        self.sizes.append(len(response.wire))


class FullSender:
    """Takes what it is told to: numbers of datagrams, then errors; afterwards everything."""

    def __init__(self, *script: tuple[int, int]) -> None:
        self.script = list(script)
        self.sent: list[bytes] = []
        self.names: list[bytes] = []

    def send(
        self, sock: Any, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        done, code = self.script.pop(0) if self.script else (len(wires), 0)
        done = min(done, len(wires))
        self.sent += wires[:done]
        self.names += names[:done]
        return done, code if done < len(wires) else 0


class World:
    """A listener that is turned by hand."""

    def __init__(
        self, host: str = "127.0.0.1", *, form: tuple[Any, Any] = (Receiver, Sender), v6only: bool = True
    ) -> None:
        self.flights = Flights()
        self.intake = Intake(self.flights, config.Limits())
        chain = chain_of(Watching, Sized, allow=("127.0.0.0/8", "::1/128"))
        (watching, _) = chain.plugins
        assert isinstance(watching, Watching)
        self.watching = watching
        self.driver = NoDriver()
        self.sock = bind_udp(host, 0, v6only)
        kind = WildcardUdpListener if host in ("0.0.0.0", "::") else UdpListener
        driver: Any = self.driver
        self.listener = kind(self.sock, Router([chain]), self.intake, driver, form[0](), form[1]())
        self.port = self.sock.getsockname()[1]
        self.clients: list[socket.socket] = []

    def client(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.bind((host, 0))
        self.clients.append(sock)
        return sock

    def turn(self) -> None:
        self.listener.on_readable()
        self.flights.settle()

    def counts(self) -> tuple[int, int, dict[str, int], int]:
        status = self.listener.status()
        return status["queries"], status["responses"], status["dropped"], status.get("send_failed", 0)

    def close(self) -> None:
        for sock in [self.sock, *self.clients]:
            sock.close()


@pytest.fixture
def worlds() -> Iterator[Any]:
    made: list[World] = []

    def make(*args: Any, **options: Any) -> World:
        made.append(World(*args, **options))
        return made[-1]

    yield make
    for world in made:
        world.close()


def asked(client: socket.socket, world: World, name: str = "10.example.org", **more: Any) -> bytes:
    octets = query(name, **more)
    host = client.getsockname()[0]
    client.sendto(octets, (host, world.port))
    return octets


@FORMS
def test_everyone_in_a_batch_gets_his_own_answer(form: Any, worlds: Any) -> None:
    world = worlds(form=form)
    clients = [world.client() for _ in range(5)]
    sent = [asked(client, world, f"{number * 100}.example.org") for number, client in enumerate(clients)]
    world.turn()
    for number, (client, octets) in enumerate(zip(clients, sent, strict=True)):
        answer, source = client.recvfrom(65535)
        assert answer[:2] == octets[:2]
        assert len(answer) == len(octets) + 12 + number * 100
        assert source == ("127.0.0.1", world.port)
    assert world.counts() == (5, 5, {}, 0)


@FORMS
def test_bad_datagrams_in_the_middle_of_a_batch_cost_nobody_else_an_answer(form: Any, worlds: Any) -> None:
    world = worlds(form=form)
    before, bad, behind = (world.client() for _ in range(3))
    address = ("127.0.0.1", world.port)
    asked(before, world)
    bad.sendto(b"", address)
    bad.sendto(b"short", address)
    bad.sendto(query()[:2] + b"\x81\x80" + query()[4:], address)
    send_from_port_0(address, query("10.example.org"))
    bad.sendto(query()[:-3], address)
    asked(behind, world)
    world.turn()
    for client in (before, behind):
        assert dns.message.from_wire(client.recv(65535)).rcode() == dns.rcode.NOERROR
    assert dns.message.from_wire(bad.recv(65535)).rcode() == dns.rcode.FORMERR
    assert world.counts() == (3, 3, {"malformed": 3, "port_zero": 1}, 0)


@pytest.mark.parametrize(
    ("size", "more", "cut"),
    [
        (400, {}, False),
        (467, {}, False),  # 512 octets with all that stands before the record's
        (468, {}, True),
        (600, {}, True),
        (600, {"payload": 512}, True),
        (1000, {"payload": 1232}, False),
        (4000, {"payload": 1232}, True),
        (4000, {"payload": 4096}, False),
        (60_000, {"payload": 65535}, False),
    ],
)
def test_an_answer_is_cut_to_what_the_client_takes(size: int, more: dict[str, int], cut: bool, worlds: Any) -> None:
    world = worlds()
    client = world.client()
    asked(client, world, f"{size}.example.org", **more)
    world.turn()
    octets = client.recv(65535)
    answer = dns.message.from_wire(octets)
    assert bool(answer.flags & dns.flags.TC) == cut
    assert len(octets) <= more.get("payload", 512) or not cut
    assert bool(answer.answer) != cut
    assert (answer.edns == 0) == bool(more)
    assert answer.question[0].name.to_text() == f"{size}.example.org."
    assert world.watching.sizes == [len(octets)], "observers see what the client gets"


# sending


def answered(world: World, *names: str) -> None:
    for name in names:
        asked(world.client(), world, name)
    world.turn()


NAMES = [f"{number}.example.org" for number in range(5)]


@pytest.mark.parametrize(
    ("script", "lost"),
    [
        ([(2, errno.EINVAL)], 1),
        ([(0, errno.EPERM), (0, errno.EPERM)], 2),
        ([(4, errno.ENETUNREACH)], 1),
        ([(1, errno.ECONNREFUSED)], 0),
        ([(1, errno.ECONNREFUSED), (0, errno.ECONNREFUSED)], 1),
        ([(1, errno.EINVAL), (0, errno.ECONNREFUSED), (1, errno.EMSGSIZE)], 2),
    ],
)
def test_what_the_kernel_refuses_is_dropped_and_counted_and_the_rest_goes_out(
    script: list[tuple[int, int]], lost: int, worlds: Any
) -> None:
    sender = FullSender(*script)
    world = worlds(form=(Receiver, lambda: sender))
    answered(world, *NAMES)
    assert len(sender.sent) == len(set(sender.names)) == 5 - lost
    assert world.counts() == (5, 5, {}, lost)
    answered(world, "9.example.org")
    assert len(sender.sent) == 6 - lost


def test_a_kernel_without_room_is_waited_for_and_nothing_is_counted_twice(worlds: Any) -> None:
    sender = FullSender((2, errno.EAGAIN))
    world = worlds(form=(Receiver, lambda: sender))
    answered(world, *NAMES)
    assert world.driver.writers == [world.listener]
    assert len(sender.sent) == 2
    answered(world, *NAMES)
    assert len(sender.sent) == 2, "nothing is tried before there is room"
    assert world.listener.status()["responses"] == 10, "taps have been offered those that wait"
    world.listener.on_writable()
    assert len(sender.sent) == len(set(sender.names)) == 10
    assert world.counts() == (10, 10, {}, 0)
    answered(world, "9.example.org")
    assert len(sender.sent) == 11


def test_no_room_again_and_again_is_waited_for_again_and_again(worlds: Any) -> None:
    sender = FullSender((2, errno.EAGAIN), (1, errno.EAGAIN), (0, errno.ENOBUFS))
    world = worlds(form=(Receiver, lambda: sender))
    answered(world, *NAMES)
    for _ in range(3):
        world.listener.on_writable()
    assert len(sender.sent) == len(set(sender.names)) == 5
    assert world.counts() == (5, 5, {}, 0)


def test_what_waits_for_room_is_bounded_and_the_rest_counted(worlds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "BACKLOG", 7)
    sender = FullSender((1, errno.EAGAIN))
    world = worlds(form=(Receiver, lambda: sender))
    for _ in range(6):
        answered(world, *NAMES)
        assert len(world.listener.wires) <= 7 + 5
    world.listener.on_writable()
    queries, responses, dropped, failed = world.counts()
    assert (queries, responses, dropped) == (30, 30, {})
    assert len(sender.sent) == len(set(sender.names)) == 30 - failed
    assert len(sender.sent) <= 1 + 7 + 5


def test_an_error_while_reading_is_no_reason_to_stop(worlds: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    class Failing:
        def receive(self, *_: Any) -> Any:
            raise OSError(errno.ENOMEM, "out of memory")

        receive_stamped = receive

        def receive_controlled(self, *_: Any) -> Any:
            raise OSError(errno.ENOMEM, "out of memory")

    for host in ("127.0.0.1", "0.0.0.0"):
        world = worlds(host, form=(Failing, Sender))
        world.turn()
        assert world.counts() == (0, 0, {}, 0)
    assert caplog.messages == []


# wildcard addresses


@FORMS
@pytest.mark.parametrize(
    ("host", "asked_at"),
    [
        ("0.0.0.0", ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.9.9.9"]),
        ("::", ["::1", "::1"]),
        ("dual", ["127.0.0.1", "::1", "127.0.0.2"]),
    ],
)
def test_a_wildcard_listener_answers_from_the_address_that_was_asked(
    form: Any, host: str, asked_at: list[str], worlds: Any
) -> None:
    world = worlds(host.replace("dual", "::"), form=form, v6only=host != "dual")
    clients = [world.client("::1" if ":" in address else "127.0.0.1") for address in asked_at]
    for client, address in zip(clients, asked_at, strict=True):
        client.sendto(query("10.example.org"), (address, world.port))
    world.turn()
    for client, address in zip(clients, asked_at, strict=True):
        assert client.recvfrom(65535)[1][:2] == (address, world.port)
    local = [f"[{address}]:{world.port}" if ":" in address else f"{address}:{world.port}" for address in asked_at]
    assert [str(endpoint.address) for _, endpoint in world.watching.seen] == local
    assert len(world.listener.endpoints) == len(set(asked_at))


def test_endpoints_of_a_wildcard_listener_are_bounded(worlds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "ENDPOINTS", 4)
    world = worlds("0.0.0.0")
    client = world.client()
    for number in range(1, 30):
        client.sendto(query("10.example.org"), (f"127.0.0.{number}", world.port))
        world.turn()
        assert client.recvfrom(65535)[1][0] == f"127.0.0.{number}"
        assert len(world.listener.endpoints) <= 4


def test_a_link_local_address_is_answered_over_its_interface(worlds: Any) -> None:
    world = worlds("::")
    index = socket.if_nametoindex("lo")
    header = struct.pack("@Nii", 36, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    for address, answers_over in (("fe80::1", index), ("2001:db8::1", 0)):
        packed = socket.inet_pton(socket.AF_INET6, address)
        endpoint = world.listener._endpoint_of(header + packed + struct.pack("=I", index) + b"\0" * 4)
        assert endpoint.control[16:36] == packed + struct.pack("=I", answers_over)
        assert str(endpoint.address) == f"[{address}{'%lo' if answers_over else ''}]:{world.port}"


def test_without_ancillary_data_the_answer_leaves_from_wherever(worlds: Any) -> None:
    world = worlds("0.0.0.0")
    endpoint = world.listener._endpoint_of(b"")
    assert (endpoint.control, str(endpoint.address)) == (b"", f"0.0.0.0:{world.port}")


# binding


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_an_error_unless_it_is_shared(host: str) -> None:
    with bind_udp(host, 0) as sock:
        assert not sock.getblocking()
        with pytest.raises(OSError, match="in use"):
            bind_udp(host, sock.getsockname()[1])
    with bind_udp(host, 0, share=True) as sock, bind_udp(host, sock.getsockname()[1], share=True) as other:
        assert other.getsockname() == sock.getsockname()


def test_it_says_what_it_is(worlds: Any) -> None:
    world = worlds()
    assert repr(world.listener) == f"<UdpListener udp://127.0.0.1:{world.port}, 0 queries>"
    assert world.listener.fileno() == world.sock.fileno()
