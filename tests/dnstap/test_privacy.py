"""Events as a tap may see them."""

import ipaddress
import os
import sys
from pathlib import Path

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.address import Address, make_sockaddr
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route, client_route
from dnsproxy.dnstap.ipcrypt import address_cipher
from dnsproxy.dnstap.privacy import CLIENTS_KEPT, QUERIES_KEPT, ROUTES_KEPT, KeyFile, Prefixes, Privacy, Veil, veil_of
from dnsproxy.dnstap.rename import Renamer, process_key
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.message import Endpoint, Policy, Query
from dnsproxy.shape import shape_of
from dnsproxy.template import compile_template
from tests.dnstap.hiding import (
    COOKIE,
    NSID,
    QUESTION,
    ecs,
    forms,
    message,
    opt,
    option,
    packed,
    record,
    telling_messages,
    with_options,
)

LISTENER = Address.of("192.0.2.53", 53)
UPSTREAM = Route.of("UDP", Address.of("192.0.2.54", 40_000), Address.of("192.0.2.1", 53))
CLIENT, SEEN = "203.0.113.77", "203.0.113.0"
CLIENT6, SEEN6 = "2001:db8:1:2::77", "2001:db8:1::"
KEY, PFX_KEY = b"some 16-byte key", bytes(range(32))
QUERY, RESPONSE = MessageType.CLIENT_QUERY, MessageType.CLIENT_RESPONSE
FORWARDER = (MessageType.FORWARDER_QUERY, MessageType.FORWARDER_RESPONSE)
MASK = Privacy(Prefixes())


def make_query(octets: bytes = message(), client: str = CLIENT) -> Query:
    return Query(octets, shape_of(octets), make_sockaddr(client, 40_212), Endpoint("UDP", LISTENER), 10**18)


def client_event(query: Query, response: bytes | None = None, policy: Policy | None = None) -> Event:
    """CLIENT_QUERY, or CLIENT_RESPONSE if there is one."""
    route = client_route(query.endpoint, query.client_sockaddr)
    if response is None:
        return Event(int(QUERY), query, route, 10**18, query.wire)
    return Event(int(RESPONSE), query, route, 10**18, query.wire, 10**18 + 5, response, None, policy)


def forwarder_events(query: Query, asked: bytes, response: bytes, zone: bytes = b"\0") -> list[Event]:
    return [
        Event(int(FORWARDER[0]), query, UPSTREAM, 10**18, asked, 0, None, zone),
        Event(int(FORWARDER[1]), query, UPSTREAM, 10**18, None, 10**18 + 3, response, zone),
    ]


def decoded(event: Event) -> dnstap_pb2.Message:
    return dnstap_pb2.Dnstap.FromString(event.encoded(True)).message


def rendered(event: Event, template: str) -> str:
    return compile_template(template).render(event)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "tap.key"
    path.write_bytes(KEY)
    return path


# keys


@pytest.mark.parametrize(
    ("octets", "key"),
    [
        (KEY, KEY),
        (KEY.hex().encode(), KEY),
        (KEY.hex().upper().encode() + b"\r\n", KEY),
        (b"0123456789abcdef", b"0123456789abcdef"),  # text of 16 octets is a key of 16 octets
        (b"x" * 15 + b"\n", b"x" * 15 + b"\n"),
        (PFX_KEY, PFX_KEY),
        (b" " + PFX_KEY.hex().encode() + b"\n", PFX_KEY),
        (b"zz" * 8 + b"yy" * 8, b"zz" * 8 + b"yy" * 8),
    ],
)
def test_a_key_is_octets_or_their_digits(key_file: Path, octets: bytes, key: bytes) -> None:
    key_file.write_bytes(octets)
    assert KeyFile(str(key_file)).key == key


@pytest.mark.parametrize(
    "octets", [b"", b"x" * 15, KEY + b"\n", b"x" * 31, b"x" * 33, b"z" * 64, b"0" * 48, b"0" * 5000]
)
def test_anything_else_is_no_key(key_file: Path, octets: bytes) -> None:
    key_file.write_bytes(octets)
    with pytest.raises(ValueError, match="octets that are no key; expected 16 octets or 32 hex digits"):
        KeyFile(str(key_file))


def test_a_key_of_equal_halves_is_refused(key_file: Path) -> None:
    key_file.write_bytes(b"y" * 32)
    with pytest.raises(ValueError, match="halves are equal"):
        KeyFile(str(key_file))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.key.*No such file"):
        KeyFile(str(tmp_path / "none.key"))
    with pytest.raises(ValueError, match="directory"):
        KeyFile(str(tmp_path))


def test_nobody_waits_for_the_writer_of_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="has 0 octets"):
        KeyFile(str(tmp_path / "fifo"))


def test_a_missing_cipher_is_found_with_the_key(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(ValueError, match="Python module cryptography"):
        KeyFile(str(key_file))


def test_two_files_with_one_key_are_equal_and_never_show_it(key_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(KEY.hex().encode())
    assert Privacy(KeyFile(str(key_file))) == Privacy(KeyFile(str(other)))
    assert len({Privacy(KeyFile(str(key_file))), Privacy(KeyFile(str(other)))}) == 1
    assert "some" not in repr(Privacy(KeyFile(str(key_file))))


@pytest.mark.parametrize(("ipv4", "ipv6"), [(33, 56), (-1, 56), (24, 129), (24, -1)])
def test_a_prefix_is_as_long_as_an_address_at_most(ipv4: int, ipv6: int) -> None:
    with pytest.raises(ValueError, match="no prefix length"):
        Prefixes(ipv4, ipv6)


# addresses


@pytest.mark.parametrize(
    ("client", "seen"), [(CLIENT, SEEN), (CLIENT6, SEEN6), (f"::ffff:{CLIENT}", SEEN), ("fe80::77%1", "fe80::")]
)
def test_a_client_is_seen_by_its_prefix_and_keeps_its_port(client: str, seen: str) -> None:
    event = Veil(MASK).event(client_event(make_query(client=client)))
    shown = decoded(event)
    assert (shown.query_address, shown.query_port) == (packed(seen), 40_212)
    assert shown.response_address == packed("192.0.2.53")
    text = f"[{seen}]" if ":" in seen else seen
    assert rendered(event, "{remote} {port} {local}") == f"{text} 40212 192.0.2.53"


@pytest.mark.parametrize("key", [KEY, PFX_KEY])
@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
def test_a_client_is_seen_by_its_pseudonym(key_file: Path, key: bytes, client: str) -> None:
    key_file.write_bytes(key)
    veil = Veil(Privacy(KeyFile(str(key_file))))
    pseudonym = address_cipher(key).encrypt(packed(client))
    bits = len(pseudonym) * 8
    event = veil.event(client_event(make_query(with_options(ecs(client, bits)), client)))
    shown = decoded(event)
    assert shown.query_address == pseudonym
    assert ipaddress.ip_address(rendered(event, "{remote}").strip("[]")).packed == pseudonym
    (option,) = dns.message.from_wire(shown.query_message).options
    assert isinstance(option, dns.edns.ECSOption)
    assert (ipaddress.ip_address(option.address).packed, option.srclen) == (pseudonym, bits)


def test_our_own_address_stays_and_ecs_is_masked_towards_upstreams() -> None:
    query = make_query(with_options(ecs(CLIENT, 32)))
    response = message(opt(ecs(CLIENT, 32, 24)), (0, 0, 1), response=True)
    asked, answered = [decoded(Veil(MASK).event(e)) for e in forwarder_events(query, query.wire, response)]
    assert asked.query_address == answered.query_address == packed("192.0.2.54")
    assert (asked.query_port, asked.query_zone, asked.response_address) == (40_000, b"\0", packed("192.0.2.1"))
    assert asked.query_message == with_options(ecs(SEEN, 24))
    assert answered.response_message == message(opt(ecs(SEEN, 24, 24)), (0, 0, 1), response=True)


@pytest.mark.parametrize("type", MessageType)
def test_the_one_who_asks_is_hidden_where_it_is_a_client(type: MessageType) -> None:
    route = Route.of("TCP", Address.of(CLIENT, 1), LISTENER)
    event = Event.of(type, route, message(record(1, packed(CLIENT)), (1, 0, 0)))
    shown = decoded(Veil(MASK).event(event))
    is_client = type.name.startswith(("CLIENT", "AUTH", "UPDATE"))
    assert shown.query_address == packed(SEEN if is_client else CLIENT)
    wires = shown.query_message or shown.response_message
    assert wires == message(record(1, packed(SEEN if is_client else CLIENT)), (1, 0, 0))


def test_an_event_without_addresses_has_none_afterwards() -> None:
    shown = decoded(Veil(MASK).event(Event.of(QUERY, Route.of("UDP", None, None), message())))
    assert not shown.HasField("query_address")


def test_a_mask_that_hides_nothing_changes_nothing() -> None:
    event = client_event(make_query(message(record(1, packed(CLIENT)), (1, 0, 0))))
    assert Veil(Privacy(Prefixes(32, 128))).event(event).encoded(True) == event.encoded(True)


def test_other_taps_still_see_everything() -> None:
    query = make_query(with_options(ecs(CLIENT, 32)))
    event = client_event(query)
    before = client_event(query).encoded(True)
    for veil in (Veil(MASK), Veil(Privacy(qname="drop", strip=frozenset(["ecs"])))):
        assert veil.event(event).encoded(True) != before
    assert event.encoded(True) == before
    assert event.query is query
    assert (query.wire, query.client) == (with_options(ecs(CLIENT, 32)), Address.of(CLIENT, 40_212))


def test_without_privacy_an_event_is_itself() -> None:
    event = client_event(make_query())
    assert Veil(Privacy()).event(event) is event


@pytest.mark.parametrize("client", [CLIENT, CLIENT6])
@given(data=st.data())
def test_no_form_of_the_clients_address_is_left_in_any_message_of_a_query(client: str, data: st.DataObject) -> None:
    veil = Veil(MASK)
    messages = telling_messages(client)
    query = make_query(data.draw(messages), client)
    query.metadata["acl/client"] = str(query.client)
    events = [
        client_event(query),
        *forwarder_events(query, data.draw(messages), data.draw(messages)),
        client_event(
            query, data.draw(messages), Policy("acl", client.encode(), match="CLIENT_IP", value=packed(client))
        ),
    ]
    template = "{name} {remote} {local} {/acl/client} {/query/id}"
    for event in events:
        seen = veil.event(event)
        octets = seen.encoded(True) + rendered(seen, template).encode()
        assert not any(form in octets.lower() for form in forms(client)[1:])
        assert packed(client) not in octets


def test_a_client_that_asks_for_its_own_name_asks_for_the_root() -> None:
    question = forms(CLIENT)[2] + b"\7in-addr\4arpa\0\0\x0c\0\1"
    event = Veil(MASK).event(client_event(make_query(message(question=question))))
    assert rendered(event, "{name} {type}") == ". PTR"


# options and names


def test_stripped_options_are_gone_on_both_sides_and_everything_else_stays() -> None:
    veil = Veil(Privacy(strip=frozenset(["ecs", "cookie"])))
    told = (ecs(CLIENT, 32), option(COOKIE, b"8 octets"), option(NSID, b""))
    query = make_query(with_options(*told))
    response = with_options(*told, response=True)
    seen = with_options(option(NSID, b""))
    assert decoded(veil.event(client_event(query))).query_message == seen
    assert decoded(veil.event(client_event(query))).query_address == packed(CLIENT)
    asked, answered = [decoded(veil.event(event)) for event in forwarder_events(query, query.wire, response)]
    assert asked.query_message == seen
    assert answered.response_message == with_options(option(NSID, b""), response=True)


def test_without_a_name_the_question_is_the_root_and_so_is_the_zone() -> None:
    veil = Veil(Privacy(qname="drop"))
    query = make_query()
    query.metadata["forward/zone"] = "example.org."
    event = veil.event(client_event(query))
    assert decoded(event).query_message == message(question=b"\0\0\1\0\1")
    assert rendered(event, "{name} {type} {size} {/forward/zone}") == ". A 17 ."
    asked, _ = forwarder_events(query, query.wire, query.wire, b"\7example\3org\0")
    assert decoded(veil.event(asked)).query_zone == b"\0"


def test_a_name_and_its_zone_get_digests_with_the_key_of_the_file(key_file: Path) -> None:
    veil = Veil(Privacy(KeyFile(str(key_file)), qname="hash"))
    upper = QUESTION.replace(b"www", b"WwW")
    response = message(record(1, packed("198.51.100.1")), (1, 0, 0), question=upper, response=True)
    digest = Renamer(KEY).name(b"\3www\7example\3org\0")
    query = make_query(message(question=upper))
    event = veil.event(client_event(query, response))
    assert decoded(event).response_message[12:].startswith(digest + b"\0\1\0\1\xc0\x0c")
    assert rendered(event, "{name} {rcode}") == f"{wire.name_to_text(digest)} NOERROR"
    asked, _ = forwarder_events(query, query.wire, query.wire, b"\7example\3org\0")
    assert decoded(veil.event(asked)).query_zone == Renamer(KEY).name(b"\7example\3org\0")


def test_without_a_key_file_digests_are_this_processs_own() -> None:
    veils = [Veil(Privacy(Prefixes(), qname="hash")), Veil(Privacy(qname="hash"))]
    names = {rendered(veil.event(client_event(make_query())), "{name}") for veil in veils}
    assert names == {wire.name_to_text(Renamer(process_key()).name(b"\3www\7example\3org\0"))}
    assert names != {wire.name_to_text(Renamer(KEY).name(b"\3www\7example\3org\0"))}


def test_a_query_that_was_bad_stays_so() -> None:
    query = make_query(message(question=b"\3www"))
    event = Veil(Privacy(Prefixes(), qname="hash")).event(client_event(query))
    assert rendered(event, "{name} {remote}") == f"- {SEEN}"
    assert decoded(event).query_message == message(question=b"")


# what is said beside the octets


def test_a_policy_and_its_label_hide_the_client() -> None:
    query = make_query()
    query.metadata["policy/rule"] = f"{CLIENT}/32"
    policy = Policy("acl", f"{CLIENT}/32".encode(), "DROP", "CLIENT_IP", packed(CLIENT))
    event = Veil(MASK).event(client_event(query, message(response=True), policy))
    shown = decoded(event).policy
    assert (shown.type, shown.rule, shown.value) == ("acl", b"", packed(SEEN))
    assert rendered(event, "{/policy/rule}") == "-"
    assert query.metadata["policy/rule"] == f"{CLIENT}/32"


def test_labels_that_tell_nothing_are_shared_and_follow_the_query() -> None:
    veil, query = Veil(MASK), make_query()
    assert rendered(veil.event(client_event(query)), "{/forward/upstream}") == "-"
    query.metadata["forward/upstream"] = "192.0.2.1:53"
    query.metadata["cache/state"] = "miss"
    event = veil.event(client_event(query, message(response=True)))
    assert rendered(event, "{/forward/upstream} {/cache/state} {/query/id}") == (
        f"192.0.2.1:53 miss {query.metadata['query/id']}"
    )


def test_a_label_that_comes_later_is_looked_at_too() -> None:
    veil, query = Veil(MASK), make_query()
    veil.event(client_event(query))
    query.metadata["acl/client"] = CLIENT
    assert rendered(veil.event(client_event(query, message(response=True))), "{/acl/client}") == "-"


# when something goes wrong


def test_an_event_that_cannot_be_veiled_shows_only_type_and_times(caplog: pytest.LogCaptureFixture) -> None:
    veil, query = Veil(MASK), make_query()
    impossible = Route(1, b"\1\2\3", 40_212, LISTENER.packed, 53)  # no address has three octets
    for _ in range(2):
        told = message(response=True)
        seen = veil.event(
            Event(int(RESPONSE), query, impossible, 10**18, query.wire, 10**18 + 5, told, b"\0", Policy("acl"))
        )
        shown = decoded(seen)
        assert seen.query is None
        assert [field.name for field, _ in shown.ListFields()] == [
            "type",
            "socket_family",
            "socket_protocol",
            "response_address",
            "response_port",
            "query_time_sec",
            "query_time_nsec",
            "response_time_sec",
            "response_time_nsec",
        ]
    assert len(caplog.records) == 1


def test_no_more_is_remembered_than_the_bounds() -> None:
    veil = Veil(MASK)
    for number in range(CLIENTS_KEPT + 10):
        seen = veil.event(client_event(make_query(client=f"203.{number >> 8}.{number & 255}.77")))
        assert seen.route.query_address == bytes((203, number >> 8, number & 255, 0))
        assert len(veil._queries) <= QUERIES_KEPT
        assert len(veil._routes) <= ROUTES_KEPT
    assert len(veil._clients) == 10


def test_taps_with_one_privacy_share_what_is_made_for_an_event() -> None:
    event = client_event(make_query())
    one, same = veil_of(Privacy(Prefixes(20, 40))), veil_of(Privacy(Prefixes(20, 40)))
    assert one.event(event) is same.event(event)
    assert one is not veil_of(Privacy(Prefixes(20, 41)))
    assert decoded(one.event(client_event(make_query(client="203.0.113.1")))).query_address == packed("203.0.112.0")
    assert one.event(event) is not event


def test_a_query_is_forgotten_with_its_answer() -> None:
    veil, query = Veil(MASK), make_query()
    seen = veil.event(client_event(query))
    asked, answered = (veil.event(event) for event in forwarder_events(query, query.wire, query.wire))
    last = veil.event(client_event(query, message(response=True)))
    assert seen.query is asked.query is answered.query is last.query
    assert not veil._queries
