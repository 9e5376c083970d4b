"""The dnstap plugin: which tap gets what."""

import socket
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import pytest
from dnsproxy_dnstap import Dnstap, TapConfig

from dnsproxy.address import Address
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.output import Output
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.message import Endpoint, Policy, Query, Response
from dnsproxy.plugin import Observer, Server, Tap
from dnsproxy.shape import shape_of
from tests.plugins.tap_configs import UNIX, config

T = TypeVar("T")
QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"
RESPONSE = b"\x12\x34\x81\x80" + QUERY[4:]
CLIENT = Address.of("192.0.2.7", 40212)
ENDPOINT = Endpoint("UDP", Address.of("192.0.2.53", 53))
UPSTREAM = Route.of("UDP", Address.of("192.0.2.53", 50000), Address.of("192.0.2.1", 53))
ARRIVED_NS = 1_700_000_000_000_000_001


class FakeServer:
    """Leases as the server does, and keeps what is leased."""

    version = "1.2.3"
    relay = None
    listen = None

    def __init__(self) -> None:
        self.leased: dict[Hashable, Any] = {}

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        if key not in self.leased:
            self.leased[key] = factory()
        return cast("T", self.leased[key])

    @property
    def outputs(self) -> list[Output]:
        return list(self.leased.values())


def bound(*configs: TapConfig) -> tuple[Dnstap, FakeServer]:
    plugin, server = Dnstap(configs), FakeServer()
    plugin.bind([plugin], cast("Server", server))
    return plugin, server


def make_query() -> Query:
    return Query(QUERY, shape_of(QUERY), CLIENT.sockaddr, ENDPOINT, ARRIVED_NS)


def taken(output: Output) -> list[dnstap_pb2.Dnstap]:
    """The messages that wait in an output."""
    octets = output._backlog.take(1 << 20)
    found = []
    while octets:
        end = 4 + int.from_bytes(octets[:4], "big")
        found.append(dnstap_pb2.Dnstap.FromString(octets[4:end]))
        octets = octets[end:]
    return found


def kinds(output: Output) -> list[str]:
    return [MessageType(frame.message.type).mnemonic for frame in taken(output)]


def show_everything(plugin: Dnstap) -> None:
    """One query with one attempt, and a message of somebody's own."""
    query = make_query()
    plugin.on_query(query)
    plugin.forwarder_query(Event(MessageType.FORWARDER_QUERY, query, UPSTREAM, ARRIVED_NS, QUERY))
    plugin.forwarder_response(Event(MessageType.FORWARDER_RESPONSE, query, UPSTREAM, ARRIVED_NS, None, 5, RESPONSE))
    plugin.emit(Event.of(MessageType.TOOL_QUERY, UPSTREAM, QUERY))
    plugin.on_response(query, Response(RESPONSE))


# events


def test_it_is_an_observer_and_a_tap() -> None:
    assert issubclass(Dnstap, Observer)
    assert issubclass(Dnstap, Tap)


def test_every_message_goes_to_a_tap_that_wants_all() -> None:
    plugin, server = bound(config())
    show_everything(plugin)
    assert kinds(server.outputs[0]) == ["CQ", "FQ", "FR", "TQ", "CR"]


def test_each_tap_gets_the_types_it_wants() -> None:
    wanted = {"client": ["CQ", "CR"], "forwarder": ["FQ", "FR"], "response": ["FR", "CR"], "TQ": ["TQ"]}
    plugin, server = bound(*[config(name=word, types=word) for word in wanted])
    show_everything(plugin)
    assert [kinds(output) for output in server.outputs] == list(wanted.values())
    assert [type.mnemonic for type in MessageType if bound(config(types="CQ"))[0].wants(type)] == ["CQ"]


def test_client_messages_say_who_asked_whom_when_and_what() -> None:
    plugin, server = bound(config(full=True))
    query = make_query()
    plugin.on_query(query)
    plugin.on_response(query, Response(RESPONSE, Policy("RPZ", action="NXDOMAIN")))
    asked, answered = [frame.message for frame in taken(server.outputs[0])]
    for message in (asked, answered):
        assert (message.query_address, message.query_port) == (CLIENT.packed, 40212)
        assert (message.response_address, message.response_port) == (ENDPOINT.address.packed, 53)
        assert (message.socket_family, message.socket_protocol) == (dnstap_pb2.INET, dnstap_pb2.UDP)
        assert message.query_time_sec * 10**9 + message.query_time_nsec == ARRIVED_NS
        assert not message.HasField("query_zone")
    assert (asked.query_message, asked.HasField("response_time_sec")) == (QUERY, False)
    assert (answered.response_message, answered.HasField("query_message")) == (RESPONSE, False)
    assert answered.response_time_sec > ARRIVED_NS // 10**9
    assert answered.policy == dnstap_pb2.Policy(type="RPZ", action=dnstap_pb2.Policy.NXDOMAIN)


def test_one_event_has_one_time_in_every_tap() -> None:
    plugin, server = bound(config(full=True), config(name="other", identity="x"))
    query = make_query()
    plugin.on_response(query, Response(RESPONSE))
    one, other = [taken(output)[0].message for output in server.outputs]
    assert one.response_time_nsec == other.response_time_nsec
    assert one.response_time_sec == other.response_time_sec


def test_identity_and_version_have_honest_defaults_and_empty_leaves_them_out() -> None:
    plugin, server = bound(config(), config(name="chosen", identity="edge-1", version=""))
    plugin.on_query(make_query())
    default, chosen = [taken(output)[0] for output in server.outputs]
    assert (default.identity, default.version) == (socket.gethostname().encode(), b"dnsproxy 1.2.3")
    assert (chosen.identity, chosen.HasField("version")) == (b"edge-1", False)
    assert not default.HasField("extra")


def test_an_unknown_label_is_named_at_start(caplog: pytest.LogCaptureFixture) -> None:
    bound(config(extra="{name} {nmae}"))
    assert caplog.messages == [f"tap {UNIX}: {{nmae}} in extra is no label, and stays as it is"]


def test_a_plugin_without_taps_for_a_message_does_nothing() -> None:
    plugin, server = bound(config(types="tool"))
    query = make_query()
    plugin.on_query(query)
    plugin.on_response(query, Response(RESPONSE))
    assert kinds(server.outputs[0]) == []


def test_two_chains_share_a_tap_of_the_top_level() -> None:
    tap = config()
    server = FakeServer()
    for plugin in (Dnstap([tap]), Dnstap([tap])):
        plugin.bind([plugin], cast("Server", server))
        plugin.on_query(make_query())
    assert [kinds(output) for output in server.outputs] == [["CQ", "CQ"]]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, f"taps everything to {UNIX}"),
        ({"name": "x", "types": ["client", "TQ"]}, f"taps client, TQ to {UNIX}"),
        ({"listen": "tcp://127.0.0.1:6000"}, "taps everything for collectors at tcp://127.0.0.1:6000"),
        ({"zones": "."}, f"taps everything, selected by zones, to {UNIX}"),
        (
            {"types": "CQ", "clients": "::1", "only": "errors", "sample": 0.5, "qname": "drop"},
            f"taps CQ, selected by clients, only and sample, with qname, to {UNIX}",
        ),
        (
            {"slower_than": "1s", "sample": 1, "always": "slow", "anonymize": {"ipv4": 0}, "strip": "ecs"},
            f"taps everything, selected by sample, with anonymize and strip, to {UNIX}",
        ),
        ({"slower_than": "0s"}, f"taps everything, selected by slower_than, to {UNIX}"),
    ],
)
def test_it_says_what_it_taps(keys: dict[str, Any], words: str) -> None:
    assert Dnstap([config(**keys)]).describe() == [words]
