"""Routes and events, and each encoder against the protobuf library, field by field."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.dnstap import dnstap_pb2, encode
from dnsproxy.dnstap.events import ROUTES_KEPT, Event, Route, client_route
from dnsproxy.dnstap.schema import HttpProtocol, MessageType, PolicyAction, PolicyMatch, SocketProtocol
from dnsproxy.message import Endpoint, Policy
from dnsproxy.testing import make_query

CLIENT = Address.of("192.0.2.7", 40212)
SERVER = Address.of("192.0.2.53", 53)
ROUTE = Route.of("UDP", CLIENT, SERVER)

addresses = st.one_of(st.just(b""), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
ports = st.integers(0, 65535)
wires = st.one_of(st.none(), st.binary(max_size=300), st.binary(min_size=4090, max_size=4100))
times = st.one_of(st.just(0), st.integers(1, 2**63))
routes = st.builds(
    Route, st.sampled_from(SocketProtocol), addresses, ports, addresses, ports, st.sampled_from([None, *HttpProtocol])
)
words = st.one_of(st.none(), st.text(max_size=20))
policies = st.builds(
    Policy,
    words,
    st.one_of(st.none(), st.binary(max_size=20)),
    st.one_of(st.none(), st.sampled_from([action.name for action in PolicyAction])),
    st.one_of(st.none(), st.sampled_from([match.name for match in PolicyMatch])),
    st.one_of(st.none(), st.binary(max_size=200)),
)
events = st.builds(
    Event,
    st.sampled_from(MessageType),
    st.none(),
    routes,
    times,
    wires,
    times,
    wires,
    st.one_of(st.none(), st.binary(min_size=1, max_size=255)),
    st.one_of(st.none(), policies),
)


def expected(event: Event, full: bool) -> dnstap_pb2.Dnstap:
    """The same message, made by the protobuf library."""
    values: dict[str, Any] = {"type": event.type, **_route_fields(event.route)}
    for field, time_ns in (("query_time", event.query_ns), ("response_time", event.response_ns)):
        if time_ns:
            values |= {f"{field}_sec": time_ns // 10**9, f"{field}_nsec": time_ns % 10**9}
    if full and event.type % 2:
        values["query_message"] = event.query_wire
    if full and not event.type % 2:
        values["response_message"] = event.response_wire
    values |= {"query_zone": event.zone, "policy": event.policy and _policy(event.policy)}
    return dnstap_pb2.Dnstap(type=dnstap_pb2.Dnstap.MESSAGE, message=dnstap_pb2.Message(**values))


def _route_fields(route: Route) -> dict[str, Any]:
    values: dict[str, Any] = {"socket_family": route.family, "socket_protocol": route.socket_protocol}
    values["http_protocol"] = route.http_protocol
    if route.query_address:
        values |= {"query_address": route.query_address, "query_port": route.query_port}
    if route.response_address:
        values |= {"response_address": route.response_address, "response_port": route.response_port}
    return values


def _policy(policy: Policy) -> dnstap_pb2.Policy:
    values: dict[str, Any] = {"type": policy.type, "rule": policy.rule, "value": policy.value}
    return dnstap_pb2.Policy(action=policy.action, match=policy.match, **values)


@given(events, st.booleans())
def test_an_event_is_encoded_as_the_protobuf_library_would(event: Event, full: bool) -> None:
    assert event.encoded(full) == expected(event, full).SerializeToString()


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=300))
def test_what_a_tap_adds_is_encoded_as_the_protobuf_library_would(identity: bytes, version: bytes, extra: str) -> None:
    frame = dnstap_pb2.Dnstap(type=dnstap_pb2.Dnstap.MESSAGE)
    for name, value in (("identity", identity), ("version", version), ("extra", extra.encode())):
        if value:
            setattr(frame, name, value)
    encoded = encode.dnstap_prefix(identity, version) + encode.extra_field(extra.encode())
    assert encoded + encode.number_field(15, 1) == frame.SerializeToString()


@given(st.integers(0, 2**64))
def test_a_varint_is_read_back(number: int) -> None:
    octets = encode.varint(number)
    assert sum((octet & 0x7F) << 7 * index for index, octet in enumerate(octets)) == number
    assert [octet >> 7 for octet in octets] == [1] * (len(octets) - 1) + [0]


@given(st.one_of(st.integers(0, 70_000), st.integers(encode.SMALL - 2, encode.SMALL + 2)))
def test_lengths_are_the_same_from_the_table_and_beyond_it(number: int) -> None:
    assert encode.length(number) == encode.varint(number)
    assert encode.frame_length(number) == number.to_bytes(4, "big")


@given(ports)
def test_ports_are_varints(port: int) -> None:
    assert encode.port_number(port) == encode.varint(port)


def test_an_event_is_encoded_once_for_each_kind_of_tap() -> None:
    event = Event.of(MessageType.TOOL_QUERY, ROUTE, b"wire")
    assert event.encoded(True) is event.encoded(True)
    assert event.encoded(False) is event.encoded(False)
    assert b"wire" in event.encoded(True)
    assert b"wire" not in event.encoded(False)


def test_seconds_in_any_order_are_encoded_right() -> None:
    for second in [*range(200), *range(200, 0, -1)]:
        event = Event(int(MessageType.CLIENT_RESPONSE), None, ROUTE, second * 10**9 + 7, None, (second + 1) * 10**9)
        assert event.encoded(False) == expected(event, False).SerializeToString()
    assert len(encode._second.known) <= encode.SECONDS_KEPT


def test_an_event_of_ones_own_happens_now() -> None:
    before = time.time_ns()
    query = Event.of(MessageType.TOOL_QUERY, ROUTE, b"query", zone=b"\0")
    response = Event.of(MessageType.TOOL_RESPONSE, ROUTE, b"response", query_ns=query.query_ns)
    after = time.time_ns()
    assert before <= query.query_ns <= response.response_ns <= after
    assert (query.response_ns, query.query_wire, query.response_wire) == (0, b"query", None)
    assert (response.query_ns, response.query_wire, response.response_wire) == (query.query_ns, None, b"response")


@pytest.mark.parametrize("type", [MessageType.TOOL_QUERY, MessageType.TOOL_RESPONSE])
def test_an_event_is_about_what_the_client_asked_whatever_became_of_it(type: MessageType) -> None:
    asked = make_query("www.example.org", id=7)
    rewritten = asked.outgoing(make_query("other.example.net", id=8).wire)
    assert Event.of(type, ROUTE, b"wire", query=rewritten.outgoing(rewritten.wire)).query is asked
    assert Event.of(type, ROUTE, b"wire", query=asked).query is asked


def test_an_unknown_word_of_a_policy_is_left_out() -> None:
    event = Event.of(MessageType.CLIENT_RESPONSE, ROUTE, b"", policy=Policy("RPZ", action="SHRUG", match="MOOD"))
    message = dnstap_pb2.Dnstap.FromString(event.encoded(False)).message
    assert message.policy == dnstap_pb2.Policy(type="RPZ")


def test_a_v4_mapped_client_is_an_ipv4_client() -> None:
    endpoint = Endpoint("UDP", Address.of("::ffff:192.0.2.53", 53))
    route = client_route(endpoint, Address.of("::ffff:192.0.2.7", 40212).sockaddr)
    assert route.encoded == ROUTE.encoded


@pytest.mark.parametrize(("client", "server"), [("192.0.2.7", "192.0.2.53"), ("2001:db8::7", "2001:db8::53")])
def test_a_clients_route_goes_from_the_client_to_the_address_that_was_asked(client: str, server: str) -> None:
    endpoint = Endpoint("DOH", Address.of(server, 443), http_protocol=int(HttpProtocol.HTTP3))
    asking = Address.of(client, 40212)
    route = client_route(endpoint, asking.sockaddr)
    assert (route.query_address, route.query_port) == (asking.packed, 40212)
    assert (route.response_address, route.response_port) == (endpoint.address.packed, 443)
    assert (route.socket_protocol, route.http_protocol) == (SocketProtocol.DOH, HttpProtocol.HTTP3)
    assert endpoint.routes[asking.sockaddr] is route


def test_no_more_routes_are_remembered_than_the_bound() -> None:
    endpoint = Endpoint("UDP", SERVER)
    for number in range(ROUTES_KEPT + 10):
        client_route(endpoint, Address.of(f"10.0.{number >> 8}.{number & 255}", 53).sockaddr)
    assert len(endpoint.routes) == 10
