"""Options and addresses taken out of messages; any octets give octets."""

import struct

import dns.edns
import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dnsproxy.dnstap.anonymizer import Anonymizer, Prefixing, Pseudonyms, leading_bits
from dnsproxy.dnstap.redact import (
    MEMO_ENTRIES,
    STRIPPED,
    OptionRules,
    Redactor,
    anonymous_ecs,
    has_no_options,
    walk,
)
from dnsproxy.dnstap.rename import Renamer
from tests.dnstap.hiding import (
    COOKIE,
    ECS,
    EDE,
    NSID,
    PADDING,
    QUESTION,
    ecs,
    ecs_data,
    message,
    opt,
    option,
    packed,
    record,
    telling_messages,
    with_options,
)

MASK = Prefixing(24, 56)
CLIENT, SEEN = "192.0.2.77", "192.0.2.0"
CLIENT6, SEEN6 = "2001:db8:1:2::77", "2001:db8:1::"
A_RECORD = record(1, packed("198.51.100.1"))


def anonymizing(anonymizer: Anonymizer = MASK) -> Redactor:
    return Redactor(OptionRules(anonymizer))


def stripping(*words: str) -> Redactor:
    return Redactor(OptionRules(removed=frozenset[int]().union(*(STRIPPED[word] for word in words))))


REDACTORS = [
    anonymizing(),
    anonymizing(Pseudonyms(b"some 16-byte key")),
    stripping("ecs", "cookie"),
    Redactor(OptionRules(names_stay=False), Renamer(None)),
    Redactor(OptionRules(MASK, STRIPPED["cookie"], names_stay=False), Renamer(b"key")),
]


def options(octets: bytes) -> list[tuple[int, bytes]]:
    """Codes and data of all options, as dnspython reads them."""
    return [(int(each.otype), each.to_wire() or b"") for each in dns.message.from_wire(octets).options]


# ECS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ecs_data(CLIENT, 32), ecs_data(SEEN, 24)),
        (ecs_data("192.0.2.64", 26), ecs_data(SEEN, 24)),
        (ecs_data("192.0.2.0", 24), ecs_data("192.0.2.0", 24)),
        (ecs_data("192.0.0.0", 12), ecs_data("192.0.0.0", 12)),
        (ecs_data("0.0.0.0", 0), ecs_data("0.0.0.0", 0)),
        (ecs_data(CLIENT6, 128), ecs_data(SEEN6, 56)),
        (ecs_data("2001:db8::", 32), ecs_data("2001:db8::", 32)),
        (ecs_data("::", 0), ecs_data("::", 0)),
        (ecs_data("::ffff:192.0.2.77", 128), ecs_data("::", 56)),
    ],
)
def test_ecs_keeps_its_family_and_at_most_the_prefix(old: bytes, new: bytes) -> None:
    assert anonymous_ecs(old, MASK, in_response=False) == new


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\1\x18",
        b"\0\1\x18\0",
        ecs_data(CLIENT, 24) + b"\x4d",  # an octet more than the prefix has
        ecs_data(CLIENT, 24)[:-1],
        b"\0\1\x21\0" + packed(CLIENT) + b"\0",
        b"\0\2\x81\0" + packed(CLIENT6) + b"\0",
        ecs_data("192.0.2.77", 25),  # bits set behind the prefix
        ecs_data("192.0.2.0", 24, family=3),
        ecs_data("192.0.2.0", 24, family=256),
        b"\0\0\0\0",
        ecs_data("192.0.2.0", 24, scope=24),  # in a query
        ecs_data("192.0.2.0", 24, scope=33),
    ],
)
def test_ecs_that_rfc_7871_does_not_allow_is_removed(data: bytes) -> None:
    assert anonymous_ecs(data, MASK, in_response=False) is None
    octets = with_options(option(NSID, b""), option(ECS, data))
    assert options(anonymizing().message(octets)) == [(NSID, b"")]


def test_a_scope_is_allowed_in_responses_and_stays() -> None:
    assert anonymous_ecs(ecs_data(CLIENT, 32, 28), MASK, in_response=True) == ecs_data(SEEN, 24, 28)
    assert anonymous_ecs(ecs_data(CLIENT, 32, 33), MASK, in_response=True) is None


@pytest.mark.parametrize("key", [b"some 16-byte key", bytes(range(32))])
@pytest.mark.parametrize("address", [CLIENT, CLIENT6])
def test_a_whole_address_in_ecs_gets_the_pseudonym_that_the_client_has(key: bytes, address: str) -> None:
    pseudonyms = Pseudonyms(key)
    bits = len(packed(address)) * 8
    seen = anonymous_ecs(ecs_data(address, bits), pseudonyms, in_response=False)
    assert seen == ecs_data(address, bits)[:4] + pseudonyms.address(packed(address))


def test_leading_bits_of_a_masked_address_are_all_that_is_left_of_ecs() -> None:
    seen = anonymous_ecs(ecs_data(CLIENT, 32), Prefixing(20, 0), in_response=False)
    assert seen == ecs_data("192.0.0.0", 20)[:4] + leading_bits(packed(CLIENT), 20)[:3]


@given(
    st.binary(max_size=24), st.booleans(), st.booleans(), st.sampled_from([MASK, Prefixing(0, 0), Prefixing(32, 128)])
)
def test_any_ecs_becomes_none_or_one_that_dnspython_takes(
    data: bytes, in_response: bool, same_size: bool, anonymizer: Anonymizer
) -> None:
    seen = anonymous_ecs(data, anonymizer, in_response, same_size)
    if seen is None:
        return
    read = dns.edns.option_from_wire(dns.edns.OptionType.ECS, seen, 0, len(seen))
    assert isinstance(read, dns.edns.ECSOption)
    assert seen[:2] == data[:2]
    assert read.srclen <= data[2]
    assert len(seen) == len(data) or not same_size
    assert read.to_wire() == seen


# options


def test_stripped_options_go_and_others_stay_as_they_are() -> None:
    octets = with_options(ecs(CLIENT, 32), option(COOKIE, b"8 octets"), option(NSID, b""), option(65001, b"mac"))
    kept = [(NSID, b""), (65001, b"mac")]
    assert options(stripping("ecs", "cookie").message(octets)) == kept
    assert options(stripping("cookie").message(octets)) == [(ECS, ecs_data(CLIENT, 32)), *kept]
    assert options(stripping("ecs").message(octets)) == [(COOKIE, b"8 octets"), *kept]


def test_both_codes_of_ecs_are_ecs() -> None:
    octets = with_options(option(20730, ecs_data(CLIENT, 32)), option(NSID, b""))
    assert options(stripping("ecs").message(octets)) == [(NSID, b"")]
    assert options(anonymizing().message(octets)) == [(NSID, b"")]


@pytest.mark.parametrize("code", [4, 16, 17, 20292, 26946, 65001, 65073])
def test_options_that_may_say_who_asks_go_where_addresses_are_hidden(code: int) -> None:
    octets = with_options(option(code, b"\0\1\2\3"), option(COOKIE, b"8 octets"), option(NSID, b""))
    assert options(anonymizing().message(octets)) == [(COOKIE, b"8 octets"), (NSID, b"")]


def test_padding_says_nothing_where_addresses_are_hidden() -> None:
    octets = with_options(option(PADDING, b"whatever"))
    assert options(anonymizing().message(octets)) == [(PADDING, bytes(8))]


def test_an_explanation_loses_its_text_where_names_are_hidden() -> None:
    octets = with_options(option(EDE, b"\0\x16no answer for www.example.org"), option(18, b"\5agent\0"))
    redactor = Redactor(OptionRules(names_stay=False), Renamer(None))
    assert options(redactor.message(octets)) == [(EDE, b"\0\x16")]


def test_responses_are_edited_as_queries_are() -> None:
    octets = message(A_RECORD + opt(ecs(CLIENT, 32, 24), rcode=1), (1, 0, 1), response=True)
    seen = anonymizing().message(octets)
    assert seen == message(A_RECORD + opt(ecs(SEEN, 24, 24), rcode=1), (1, 0, 1), response=True)


def test_every_opt_is_edited_wherever_it_stands() -> None:
    told = opt(ecs(CLIENT, 32))
    octets = message(told + A_RECORD + told + told, (1, 1, 2), response=True)
    seen = anonymizing().message(octets)
    assert packed(CLIENT) not in seen
    assert [each[0] for each in walk(seen)[1]] == [41, 1, 41, 41]


@pytest.mark.parametrize("redactor", [anonymizing(), stripping("ecs", "cookie")])
def test_names_that_point_behind_an_opt_which_is_not_last_still_do(redactor: Redactor) -> None:
    first = opt(ecs(CLIENT, 32), option(COOKIE, b"8 octets"), option(NSID, b""), option(PADDING, b"pad"))
    start = 12 + len(QUESTION) + len(first)
    owner = b"\2ns\7example\3net\0"
    tail = record(1, packed("198.51.100.1"), owner) + record(
        1, packed("198.51.100.2"), struct.pack("!H", 0xC000 | start)
    )
    octets = message(first + tail, (0, 0, 3), response=True)
    seen = redactor.message(octets)
    assert len(seen) == len(octets)
    assert packed(CLIENT) not in seen
    parsed = dns.message.from_wire(seen)
    assert [rrset.name.to_text() for rrset in parsed.additional] == ["ns.example.net."]
    assert len(parsed.additional[0]) == 2


def test_options_that_cannot_be_read_all_go() -> None:
    octets = with_options(option(NSID, b""), b"\0\x08\0\xff" + packed(CLIENT))
    for redactor in (anonymizing(), stripping("ecs")):
        assert redactor.message(octets) == with_options()


def test_of_a_message_that_cannot_be_walked_only_header_question_and_bare_opt_stay() -> None:
    told = opt(ecs(CLIENT, 32))
    for records, left in ((told + b"\3ww", opt()), (told[:-1], b""), (b"\x80" + told, b"")):
        octets = message(records, (0, 0, 2), response=True)
        assert anonymizing().message(octets) == message(left, (0, 0, 1 if left else 0), response=True)


def test_a_question_that_cannot_be_read_goes_too() -> None:
    octets = message(opt(ecs(CLIENT, 32)), (0, 0, 1), question=b"\3www\x80")
    assert anonymizing().message(octets) == message(question=b"")


def test_what_follows_the_last_record_goes_with_the_options() -> None:
    octets = with_options(ecs(CLIENT, 32))
    assert anonymizing().message(octets + ecs(CLIENT, 32)) == with_options(ecs(SEEN, 24))
    hidden = message() + opt(ecs(CLIENT, 32))  # not counted
    assert anonymizing().message(hidden) == message()


def test_a_proxys_client_in_an_xpf_record_is_blanked() -> None:
    xpf = b"\4\x11" + packed(CLIENT) + packed("192.0.2.53") + b"\x9d\x14\0\x35"
    octets = message(record(65422, xpf, b"\0"), (0, 0, 1))
    assert anonymizing().message(octets) == message(record(65422, bytes(len(xpf)), b"\0"), (0, 0, 1))
    assert stripping("ecs").message(octets) == octets


# without a walk


@pytest.mark.parametrize(
    "octets",
    [
        message(),
        message(opt(), (0, 0, 1)),
        message(A_RECORD, (1, 0, 0), response=True),
        message(A_RECORD + opt(rcode=1), (1, 0, 1), response=True),
    ],
)
def test_messages_without_options_are_the_same_object_afterwards(octets: bytes) -> None:
    assert has_no_options(octets)
    assert anonymizing().message(octets) is octets
    assert stripping("cookie").message(octets) is octets


@pytest.mark.parametrize(
    "octets",
    [
        message(opt(option(NSID, opt())), (0, 0, 1)),  # ends as an empty OPT does
        message(opt(ecs(CLIENT, 32)) + opt(), (0, 0, 2)),
        message(opt() + A_RECORD, (0, 0, 2), response=True),
        message(A_RECORD, (0, 0, 1)),
    ],
)
def test_whatever_else_there_is_takes_a_walk(octets: bytes) -> None:
    assert not has_no_options(octets)


@given(st.binary(max_size=60), st.binary(max_size=30))
@example(b"", b"\0\x29")
def test_no_option_escapes_the_look_without_a_walk(records: bytes, data: bytes) -> None:
    for counts in ((0, 0, 1), (1, 0, 1)):
        octets = message(records + opt(option(ECS, data)), counts, response=True)
        assert not has_no_options(octets)


# any octets


@pytest.mark.parametrize("redactor", REDACTORS)
@given(octets=st.one_of(st.binary(max_size=100), st.binary(max_size=80).map(lambda tail: message(tail, (1, 1, 1)))))
@example(octets=b"")
@example(octets=bytes(12))
@example(octets=b"\xff" * 12)
@example(octets=message() + b"\0\x29")
def test_any_octets_give_octets_with_the_same_id_or_none(redactor: Redactor, octets: bytes) -> None:
    seen = redactor.message(octets)
    assert seen[:2] == (octets[:2] if len(octets) >= 12 else b"")
    assert len(seen) >= 12 or len(octets) < 12


@pytest.mark.parametrize("redactor", [REDACTORS[0], REDACTORS[2], REDACTORS[3]])
@given(octets=telling_messages(CLIENT))
def test_what_is_hidden_once_is_hidden(redactor: Redactor, octets: bytes) -> None:
    seen = redactor.message(octets)
    assert redactor.message(seen) == seen


def test_a_message_is_remembered_whatever_its_id_up_to_a_bound() -> None:
    redactor = anonymizing()
    for number in range(MEMO_ENTRIES + 10):
        address = number.to_bytes(2, "big")
        told = with_options(option(ECS, b"\0\1\x20\0\x0a" + address + b"\x4d"))
        seen = with_options(option(ECS, b"\0\1\x18\0\x0a" + address))
        for id in (b"ab", b"cd"):
            assert redactor.message(id + told[2:]) == id + seen[2:]
    assert len(redactor._known) == 10


def test_long_messages_are_edited_each_time() -> None:
    redactor = anonymizing()
    padding = option(PADDING, bytes(500))
    for _ in range(2):
        assert redactor.message(with_options(ecs(CLIENT, 32), padding)) == with_options(ecs(SEEN, 24), padding)
    assert not redactor._known
