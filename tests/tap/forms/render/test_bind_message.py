"""How BIND takes messages apart, and which it refuses."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.bind_message import ADDITIONAL, ANSWER, AUTHORITY, QUESTION, Message, Unparsable
from tests.support.wire import name_to_wire, opt_record

A, NS, CNAME, SOA, SIG, KEY, RRSIG, NSEC3, TKEY, TSIG = 1, 2, 5, 6, 24, 25, 46, 50, 249, 250
QUERY, NOTIFY, UPDATE = 0, 4, 5
IN, CH, NONE, ANY = 1, 3, 254, 255
NAME = name_to_wire("www.example.org")
SIGNATURE = bytes(16) + b"\0sig"
TSIG_DATA = b"\0" + bytes(8) + b"\0\0" + bytes(4) + b"\0\0"
TKEY_DATA = b"\0" + bytes(12) + b"\0\0" + b"\0\0"


def question(name: bytes = NAME, type: int = A, qclass: int = IN) -> bytes:
    return name + struct.pack("!HH", type, qclass)


def record(type: int, data: bytes, name: bytes = b"\xc0\x0c", rclass: int = IN, ttl: int = 300) -> bytes:
    return name + struct.pack("!HHIH", type, rclass, ttl, len(data)) + data


def message(
    questions: list[bytes], *sections: list[bytes], opcode: int = QUERY, flags: int = 0x8180, rest: bytes = b""
) -> Message:
    filled = [questions, *sections, [], [], []][:4]
    header = struct.pack("!HHHHHH", 1, flags | opcode << 11, *map(len, filled))
    return Message(header + b"".join(b"".join(section) for section in filled) + rest)


def sets(found: Message, section: int) -> list[tuple[str, int, int, list[str]]]:
    return [(one.name, one.type, one.ttl, one.data) for owner in found.sections[section] for one in owner]


def test_records_of_a_name_and_type_come_together_with_the_least_ttl() -> None:
    other = name_to_wire("a.example.org")
    answer = [
        record(A, b"\1\1\1\1", ttl=300),
        record(A, b"\2\2\2\2", name=other),
        record(NS, other, ttl=5),
        record(A, b"\3\3\3\3", name=name_to_wire("WWW.example.org"), ttl=20),
        record(A, b"\3\3\3\3", ttl=400),
    ]
    assert sets(message([question()], answer), ANSWER) == [
        ("www.example.org.", A, 20, ["1.1.1.1", "3.3.3.3", "3.3.3.3"]),
        ("www.example.org.", NS, 5, ["a.example.org."]),
        ("a.example.org.", A, 300, ["2.2.2.2"]),
    ]


def test_signatures_come_together_by_the_type_that_they_cover() -> None:
    answer = [record(RRSIG, bytes((0, type)) + SIGNATURE) for type in (A, NS, A)]
    assert [len(data) for _, _, _, data in sets(message([question()], answer), ANSWER)] == [2, 1]


def test_records_of_an_update_stay_as_they_are() -> None:
    update = [
        record(A, b"\1\1\1\1"),
        record(A, b"\2\2\2\2"),
        record(A, b"", rclass=ANY),
        record(A, b"\1\1\1\1", rclass=NONE),
    ]
    found = message([question(type=SOA)], [record(A, b"", rclass=NONE)], update, opcode=UPDATE)
    assert [data for _, _, _, data in sets(found, AUTHORITY)] == [["1.1.1.1"], ["2.2.2.2"], [""], ["\\# 4 01010101"]]
    assert sets(found, ANSWER) == [("www.example.org.", A, 300, [""])]


def test_what_repeats_a_cname_counts_for_nothing_but_its_ttl() -> None:
    target, same = name_to_wire("a.example.org"), name_to_wire("A.example.org")
    found = message([question()], [record(CNAME, target), record(CNAME, same, ttl=7)])
    assert sets(found, ANSWER) == [("www.example.org.", CNAME, 7, ["a.example.org."])]
    with pytest.raises(Unparsable):
        message([question()], [record(CNAME, target), record(CNAME, NAME)])


def test_several_questions_have_one_name_and_class_and_different_types() -> None:
    found = message([question(), question(name_to_wire("WWW.example.org"), NS)])
    assert [(one.name, one.type) for one in found.sections[QUESTION][0]] == [
        ("www.example.org.", A),
        ("www.example.org.", NS),
    ]
    for second in (question(), question(name_to_wire("example.org"), NS), question(type=NS, qclass=CH)):
        with pytest.raises(Unparsable):
            message([question(), second])


def test_opt_tsig_and_sig0_stand_apart() -> None:
    opt = opt_record(extended_rcode=1, options=b"\0\3\0\1n")
    found = message([question()], [], [], [opt, record(TSIG, TSIG_DATA, rclass=ANY)])
    assert found.opt == (1232, 0x0100_0000, [(3, b"n")])
    assert found.rcode == 16
    assert found.tsig is not None
    signed = message([question()], [], [], [record(SIG, b"\0\0" + SIGNATURE, name=b"\0", rclass=ANY)])
    assert signed.sig0 is not None
    assert found.sections[ADDITIONAL] == signed.sections[ADDITIONAL] == []


def test_octets_behind_the_last_record_are_of_no_interest() -> None:
    assert message([question()], rest=b"garbage").counts == [1, 0, 0, 0]


def test_the_class_is_that_of_the_question_with_exceptions() -> None:
    key = b"\1\0\3\1k"
    found = [
        message([question(qclass=ANY)], [record(A, b"\1\1\1\1"), record(NS, NAME, rclass=CH)]),
        message([], [record(A, b"\1\1\1\1", name=NAME)]),
        message([question(type=TKEY)], [record(KEY, key, rclass=ANY)]),
        message([question()], [record(A, b"", rclass=ANY)], opcode=UPDATE),
    ]
    assert [len(sets(one, ANSWER)) for one in found] == [2, 1, 1, 1]
    for wrong in (
        record(NS, NAME, rclass=CH),
        record(KEY, key, rclass=ANY),
        record(SIG, b"\0\1" + SIGNATURE, rclass=CH),
    ):
        with pytest.raises(Unparsable):
            message([question()], [wrong])


def test_a_key_exchange_stands_in_the_answer_or_in_a_query_s_additional_section() -> None:
    tkey = record(TKEY, TKEY_DATA, rclass=ANY)
    assert len(sets(message([question(type=TKEY)], [tkey]), ANSWER)) == 1
    assert len(sets(message([question(type=TKEY)], [], [], [tkey], flags=0), ADDITIONAL)) == 1
    with pytest.raises(Unparsable):
        message([question(type=TKEY)], [], [], [tkey])


@pytest.mark.parametrize(
    ("sections", "opcode"),
    [
        ([[opt_record()]], QUERY),
        ([[], [], [opt_record(), opt_record()]], QUERY),
        ([[], [], [b"\1x" + opt_record()]], QUERY),
        ([[record(TSIG, TSIG_DATA, rclass=ANY)]], QUERY),
        ([[], [], [record(TSIG, TSIG_DATA)]], QUERY),
        ([[], [], [record(TSIG, TSIG_DATA, rclass=ANY), opt_record()]], QUERY),
        ([[record(SIG, b"\0\0" + SIGNATURE)]], QUERY),
        ([[], [], [record(SIG, b"\0\0" + SIGNATURE)]], QUERY),
        ([[record(RRSIG, b"\0\0" + SIGNATURE)]], QUERY),
        ([[record(ANY, b"")]], QUERY),
        ([[record(0, b"")]], QUERY),
        ([[record(NSEC3, b"\1\0\0\0\0\x14" + bytes(20))]], QUERY),
        ([[record(A, b"\1\1\1\1", rclass=NONE)]], UPDATE),
        ([[], [record(A, b"\1\1\1\1", rclass=ANY)]], UPDATE),
        ([[record(A, b"\1\1\1\1")[:-1]]], QUERY),
        ([[record(A, b"\1\1\1\1")[:11]]], QUERY),
    ],
)
def test_a_record_in_the_wrong_place_is_refused(sections: list[list[bytes]], opcode: int) -> None:
    with pytest.raises(Unparsable):
        message([question()], *sections, opcode=opcode)


@pytest.mark.parametrize("opcode", [NOTIFY, UPDATE])
def test_updates_and_notifications_are_about_a_class_of_data(opcode: int) -> None:
    for qclass in (NONE, ANY):
        with pytest.raises(Unparsable):
            message([question(qclass=qclass)], opcode=opcode)


def test_a_message_that_is_cut_is_refused() -> None:
    for octets in (b"", bytes(11), struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + NAME + b"\0\1\0"):
        with pytest.raises(Unparsable):
            Message(octets)


@given(st.binary(max_size=80), st.integers(0, 0xFFFF), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_any_octets_are_a_message_or_refused(octets: bytes, flags: int, counts: list[int]) -> None:
    try:
        found = Message(struct.pack("!HHHHHH", 1, flags, *counts) + octets)
    except Unparsable:
        return
    assert found.counts == counts
