"""The dnstap plugin: its keys, and which tap gets what."""

import logging
import socket
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import trustme
from dnsproxy_dnstap import Dnstap, TapConfig

from dnsproxy.address import Address
from dnsproxy.convert import read_table
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.output import Output, SocketOutput
from dnsproxy.dnstap.schema import ALL_TYPES, MessageType
from dnsproxy.message import Endpoint, Policy, Query, Response
from dnsproxy.plugin import Observer, Server, Tap
from dnsproxy.shape import shape_of

T = TypeVar("T")
QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"
RESPONSE = b"\x12\x34\x81\x80" + QUERY[4:]
CLIENT = Address.of("192.0.2.7", 40212)
ENDPOINT = Endpoint("UDP", Address.of("192.0.2.53", 53))
UPSTREAM = Route.of("UDP", Address.of("192.0.2.53", 50000), Address.of("192.0.2.1", 53))
ARRIVED_NS = 1_700_000_000_000_000_001
UNIX = "unix:///run/tap.sock"


class FakeServer:
    """Leases as the server does, and keeps what is leased."""

    version = "1.2.3"
    relay = None

    def __init__(self) -> None:
        self.leased: dict[Hashable, Any] = {}

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        if key not in self.leased:
            self.leased[key] = factory()
        return cast("T", self.leased[key])

    @property
    def outputs(self) -> list[Output]:
        return list(self.leased.values())


def config(**keys: Any) -> TapConfig:
    outcome = read_table(TapConfig, {"socket": UNIX, **keys}, Path("/"))
    assert outcome.errors == []
    assert outcome.value is not None
    return outcome.value


def errors(**keys: Any) -> dict[str, str]:
    """Messages by key path."""
    outcome = read_table(TapConfig, {"socket": UNIX, **keys}, Path("/"))
    return {".".join(map(str, error.path)): error.message for error in outcome.errors}


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


# keys


def test_a_socket_is_all_that_is_needed() -> None:
    tap = config()
    assert (tap.shown_name, tap.full, tap.queue, tap.queue_bytes) == (UNIX, False, 10_000, 64 << 20)
    assert tap.selected == ALL_TYPES
    assert [error.path for error in read_table(TapConfig, {}, Path("/")).errors] == [("socket",)]


@pytest.mark.parametrize(
    ("types", "mnemonics"),
    [
        ("client", "CQ CR"),
        (["CQ", "FORWARDER_RESPONSE"], "CQ FR"),
        (["client query", "client"], "CQ CR"),
        (["all"], "AQ AR RQ RR CQ CR FQ FR SQ SR TQ TR UQ UR"),
    ],
)
def test_types_are_words_or_lists_of_words(types: object, mnemonics: str) -> None:
    assert {type.mnemonic for type in config(types=types).selected} == set(mnemonics.split())


@pytest.mark.parametrize(
    ("keys", "path", "wrong"),
    [
        ({"socket": "udp://192.0.2.1:53"}, "socket", "is not known; expected unix:///path"),
        ({"types": ["CQ", "CX"]}, "types", '"CX" is no message type; expected'),
        ({"types": []}, "types", "is an empty list"),
        ({"queue": 0}, "queue", "too small"),
        ({"queue": True}, "queue", "is a boolean"),
        ({"queue_bytes": "12 parsecs"}, "queue_bytes", "is not a size"),
        ({"extra": 5}, "extra", "is a number"),
        ({"extra": {"json": []}}, "extra", "is not a template"),
        ({"name": ""}, "name", "is empty"),
        ({"skip_verify": True}, "skip_verify", "is for tls:// only"),
        ({"server_name": "x"}, "server_name", "is for tls:// only"),
        ({"socket": "tls://192.0.2.1:853", "ca": "/no/such/file"}, "ca", "No such file"),
        ({"socket": "tls://192.0.2.1:853", "cert": "/no/such/file"}, "cert", "No such file"),
        ({"socket": "tls://192.0.2.1:853", "key": "/dev/null"}, "key", "stands without cert"),
        ({"socket": "tls://192.0.2.1:853", "ca": "/dev/null"}, "ca", "/dev/null will not do"),
        ({"socket": "tls://192.0.2.1:853", "cert": "/dev/null"}, "cert", "/dev/null will not do"),
        ({"sockett": UNIX}, "sockett", "unknown key"),
    ],
)
def test_a_mistake_is_an_error_at_its_key(keys: dict[str, Any], path: str, wrong: str) -> None:
    found = errors(**keys)
    assert list(found) == [path]
    assert wrong in found[path]
    assert "; expected " in found[path] or "; did you mean " in found[path]


def test_several_mistakes_are_told_together() -> None:
    assert set(errors(queue=-1, ca="/dev/null", skip_verify=True)) == {"queue", "ca", "skip_verify"}


def test_a_certificate_and_the_key_of_another_do_not_fit(tmp_path: Path) -> None:
    authority = trustme.CA()
    one, other = authority.issue_cert("one.example.org"), authority.issue_cert("other.example.org")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    one.private_key_pem.write_to_path(tmp_path / "key.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    tls = {"socket": "tls://192.0.2.1:853", "cert": str(tmp_path / "cert.pem")}
    assert errors(**tls, key=str(tmp_path / "key.pem")) == {}
    assert "KEY_VALUES_MISMATCH" in errors(**tls, key=str(tmp_path / "other.pem"))["key"]
    assert "PEM" in errors(**tls, key="/dev/null")["key"]
    assert "private key" in errors(**tls)["cert"]


def test_no_two_taps_share_a_name_or_a_file() -> None:
    assert list(config().claims()) == [("socket", UNIX)]
    assert list(config(name="edge").claims()) == [("name", "edge")]
    assert list(config(name="edge", socket="file:///x").claims()) == [("socket", "file:///x"), ("name", "edge")]
    assert list(config(socket="file:///tmp/../x").claims()) == [("socket", "file:///x")]


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
    ("changed", "kept"),
    [({"full": True}, True), ({"extra": "{name}", "types": "CQ"}, True), ({"queue": 5}, False), ({"name": "x"}, False)],
)
def test_what_does_not_concern_the_connection_keeps_it_across_a_reload(changed: dict[str, Any], kept: bool) -> None:
    server = FakeServer()
    for tap in (config(), config(**changed)):
        Dnstap([tap]).bind([], cast("Server", server))
    assert (len(server.outputs) == 1) == kept


def test_the_output_is_of_the_kind_that_the_address_says() -> None:
    _, server = bound(config(), config(socket="file:///tmp/x.fstrm"), config(socket="tcp://192.0.2.1:6000"))
    assert [type(output) for output in server.outputs] == [SocketOutput, FileOutput, SocketOutput]


def test_it_says_what_it_taps(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plugin = Dnstap([config(), config(name="x", socket="file:///tmp/x.fstrm", types=["client", "TQ"])])
    assert plugin.describe() == [f"taps everything to {UNIX}", "taps client, TQ to file:///tmp/x.fstrm"]
