"""Functions on wire format, with dnspython as the judge."""

import struct

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.wire import WireError

LABEL = st.binary(min_size=1, max_size=63)
QUESTION = b"\3www\7example\3org\0\0\1\0\1"
HEADER = b"\x12\x34\1\0"


@st.composite
def wire_names(draw: st.DrawFn) -> bytes:
    labels = draw(st.lists(LABEL, max_size=6))
    name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    assume(len(name) <= 255)
    return name


NAMES = wire_names()


def message(question: bytes = QUESTION, *, counts: tuple[int, ...] = (1, 0, 0, 0), records: bytes = b"") -> bytes:
    return HEADER + struct.pack("!HHHH", *counts) + question + records


def record(rtype: int, data: bytes = b"", owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack("!HHIH", rtype, 1, 300, len(data)) + data


def generic(code: int, data: bytes) -> dns.edns.Option:
    return dns.edns.GenericOption(dns.edns.OptionType(code), data)


def big_response(*, answers: int = 100, edns: bool = True, options: tuple[dns.edns.Option, ...] = ()) -> bytes:
    query = dns.message.make_query("www.example.org", "TXT", use_edns=edns or None)
    response = dns.message.make_response(query)
    if edns:
        response.use_edns(0, dns.flags.DO, 1400, options=list(options))
    response.answer.append(
        dns.rrset.from_text(
            "www.example.org.", 300, "IN", "TXT", *(f'"{"x" * 50} {number}"' for number in range(answers))
        )
    )
    return response.to_wire(max_size=65535)


# walking


@given(NAMES, st.binary(max_size=20), st.binary(max_size=20))
def test_the_end_of_a_name_is_found_wherever_it_stands(name: bytes, before: bytes, behind: bytes) -> None:
    octets = before + name + behind
    assert wire.name_end(octets, len(before)) == len(before) + len(name)
    assert wire.skip_name(octets, len(before)) == len(before) + len(name)


@pytest.mark.parametrize(
    "name", [b"", b"\3ww", b"\3www", b"\xc0\x0c", b"\3www\xc0\x0c", b"\x40" + b"x" * 64 + b"\0", b"\x80x\0"]
)
def test_a_question_takes_no_pointer_no_strange_label_and_no_end_in_the_middle(name: bytes) -> None:
    with pytest.raises(WireError):
        wire.name_end(name, 0)


def test_a_name_has_at_most_255_octets() -> None:
    longest = b"\x3f" + b"x" * 63
    assert wire.name_end(longest * 3 + b"\x3d" + b"x" * 61 + b"\0", 0) == 255
    with pytest.raises(WireError, match="255"):
        wire.name_end(longest * 3 + b"\x3e" + b"x" * 62 + b"\0", 0)


@pytest.mark.parametrize("name", [b"", b"\3ww", b"\xc0", b"\3www\xc0", b"\x40x\0", b"\xbf\0"])
def test_an_owner_that_cannot_be_skipped_is_an_error(name: bytes) -> None:
    with pytest.raises(WireError):
        wire.skip_name(name, 0)


def test_records_are_walked_over_by_their_lengths() -> None:
    octets = message(records=record(16, b"\2hi") + record(1, b"\xc0\0\2\1"))
    first_end = 12 + len(QUESTION) + 2 + 10 + 3
    assert wire.skip_record(octets, 12 + len(QUESTION)) == (16, 12 + len(QUESTION) + 2, first_end)
    assert wire.skip_record(octets, first_end) == (1, first_end + 2, len(octets))
    for cut in (1, 4, 5, 12):
        with pytest.raises(WireError):
            wire.skip_record(octets[:-cut], first_end)


@given(st.binary(min_size=12, max_size=100), st.integers(12, 60))
def test_no_octets_make_the_walks_raise_anything_but_wire_error(octets: bytes, at: int) -> None:
    assert -1 <= wire.opt_of(octets) <= len(octets) - 10
    assert 0 <= wire.rcode_of(octets) <= 4095
    for walk in (wire.skip_name, wire.name_end, wire.skip_record, wire.find_opts):
        try:
            walk(octets, at)
        except WireError:
            continue
    try:
        assert wire.question_end(octets) <= len(octets)
    except WireError:
        return


# EDNS


def test_an_opt_is_found_and_its_options_read() -> None:
    options: list[dns.edns.Option] = [generic(10, b"12345678"), generic(65001, b"")]
    octets = dns.message.make_query("www.example.org", "A", use_edns=0, options=options).to_wire()
    (fixed,) = wire.find_opts(octets, wire.question_end(octets))
    assert fixed == wire.opt_of(octets)
    assert wire.opt_options(octets, fixed) == [(10, b"12345678"), (65001, b"")]


@pytest.mark.parametrize(
    ("counts", "records"),
    [
        ((1, 1, 0, 0), record(41, owner=b"\0")),
        ((1, 0, 1, 0), record(41, owner=b"\0")),
        ((1, 0, 0, 1), record(41, owner=b"\1x\0")),
        ((1, 0, 0, 1), record(41, owner=b"\xc0\x0c")),
        ((1, 0, 0, 1), record(41, owner=b"\0") + b"\0"),
        ((1, 0, 0, 2), record(41, owner=b"\0")),
        ((1, 0, 0, 65535), b""),
    ],
)
def test_an_opt_in_the_wrong_place_or_octets_left_over_are_errors(counts: tuple[int, ...], records: bytes) -> None:
    octets = message(counts=counts, records=records)
    with pytest.raises(WireError):
        wire.find_opts(octets, wire.question_end(octets))


def test_two_opts_are_both_found() -> None:
    octets = message(counts=(1, 0, 0, 2), records=record(41, owner=b"\0") * 2)
    assert len(wire.find_opts(octets, wire.question_end(octets))) == 2


@pytest.mark.parametrize("data", [b"\0", b"\0\x0a\0", b"\0\x0a\0\1", b"\0\x0a\0\1x\0", b"\0\x0a\xff\xff"])
def test_options_that_overlap_the_end_of_their_opt_are_an_error(data: bytes) -> None:
    octets = message(counts=(1, 0, 0, 2), records=record(41, data, b"\0") + record(1, b"\xc0\0\2\1"))
    with pytest.raises(WireError):
        wire.opt_options(octets, wire.opt_of(octets))


def test_our_own_opt_reads_back() -> None:
    options = wire.ede_option(22, "nobody answered")
    octets = message(counts=(1, 0, 0, 1), records=wire.make_opt(1, True, options))
    parsed = dns.message.from_wire(octets)
    assert (parsed.edns, parsed.payload, parsed.ednsflags & dns.flags.DO) == (0, 1232, dns.flags.DO)
    assert parsed.ednsflags >> 24 == 1
    (option,) = parsed.options
    assert isinstance(option, dns.edns.EDEOption)
    assert (option.code, option.text) == (22, "nobody answered")


@given(st.text(max_size=300))
def test_the_text_of_an_extended_error_is_cut_between_characters(text: str) -> None:
    cut = wire.ede_option(0, text)[6:]
    assert len(cut) <= 200
    cut.decode()
    assert text.encode("utf-8", "replace").startswith(cut)


@pytest.mark.parametrize("rcode", [0, 3, 5, 16, 23, 4095])
def test_an_rcode_is_read_with_its_extended_bits(rcode: int) -> None:
    response = dns.message.make_response(dns.message.make_query("www.example.org", "A", use_edns=0))
    response.set_rcode(dns.rcode.Rcode(rcode))
    octets = response.to_wire()
    assert wire.rcode_of(octets) == rcode
    assert wire.rcode_of(octets[:-3]) == rcode & 15, "an OPT that cannot be walked says nothing"


def test_an_opt_behind_other_records_counts() -> None:
    octets = message(counts=(1, 1, 0, 2), records=record(1, b"\xc0\0\2\1") * 2 + record(41, owner=b"\0"))
    assert wire.opt_of(octets) == len(octets) - 10


# answers of our own


@pytest.mark.parametrize("opt", [True, False])
@pytest.mark.parametrize("rcode", [0, 1, 5, 16])
def test_an_answer_of_our_own_has_the_question_the_clients_flags_and_an_opt_only_when_asked(
    rcode: int, opt: bool
) -> None:
    asked = dns.message.make_query("www.ExAmple.org", "AAAA", flags=dns.flags.RD | dns.flags.CD | dns.flags.AD)
    octets = asked.to_wire()
    question = octets[12:]
    answer = dns.message.from_wire(wire.own_answer(octets, question, rcode, opt, opt))
    assert answer.id == asked.id
    assert answer.question == asked.question
    assert answer.question[0].name.to_text() == "www.ExAmple.org."
    assert dns.flags.to_text(answer.flags) == "QR RD RA CD"
    assert (answer.edns, answer.payload) == ((0, 1232) if opt else (-1, 0))
    assert answer.rcode() == (rcode if opt or rcode < 16 else dns.rcode.SERVFAIL)


def test_an_extended_rcode_without_an_opt_becomes_servfail_not_another_rcode() -> None:
    octets = message()
    assert wire.rcode_of(wire.own_answer(octets, QUESTION, 23, False, False)) == dns.rcode.SERVFAIL
    assert wire.rcode_of(wire.own_answer(octets, QUESTION, 23, True, False)) == 23


def test_an_answer_of_our_own_may_be_authoritative_and_may_lack_the_question() -> None:
    answer = dns.message.from_wire(wire.own_answer(message(b"", counts=(0, 0, 0, 0)), b"", 1, False, False, aa=True))
    assert answer.question == []
    assert answer.flags & dns.flags.AA


@given(st.integers(0, 255), st.integers(0, 255))
def test_the_opcode_is_copied_and_nothing_else_of_the_clients_header(second: int, third: int) -> None:
    octets = b"\x12\x34" + bytes((second & 0x7F, third)) + message()[4:]
    answer = wire.own_answer(octets, b"", 4, False, False)
    assert answer[2] == 0x80 | second & 0x79
    assert answer[3] == 0x84 | third & 0x10


# truncation


@pytest.mark.parametrize("edns", [True, False])
@pytest.mark.parametrize("limit", [512, 1232])
def test_a_long_response_is_cut_to_question_and_opt(edns: bool, limit: int) -> None:
    octets = big_response(edns=edns)
    cut = wire.truncate(octets, limit)
    assert len(cut) <= limit
    whole, parsed = dns.message.from_wire(octets), dns.message.from_wire(cut)
    assert parsed.flags == whole.flags | dns.flags.TC
    assert parsed.question == whole.question
    assert parsed.answer == parsed.authority == parsed.additional == []
    assert (parsed.edns, parsed.payload, parsed.ednsflags) == (whole.edns, whole.payload, whole.ednsflags)


def test_the_extended_rcode_and_options_stay_as_long_as_they_fit() -> None:
    short, long = generic(65001, b"x" * 10), generic(65002, b"x" * 700)
    cut = dns.message.from_wire(wire.truncate(big_response(options=(short,)), 512))
    assert [option.otype for option in cut.options] == [65001]
    cut = dns.message.from_wire(wire.truncate(big_response(options=(short, long)), 512))
    assert (cut.edns, cut.options) == (0, ())
    assert len(dns.message.from_wire(wire.truncate(big_response(options=(short, long)), 1232)).options) == 2


def test_an_opt_that_is_not_the_last_record_is_kept() -> None:
    octets = message(counts=(1, 0, 0, 2), records=record(41, owner=b"\0") + record(16, b"\2hi"))
    assert dns.message.from_wire(wire.truncate(octets, 512)).edns == 0


@pytest.mark.parametrize("records", [b"", b"\xc0", record(1, b"\xc0\0\2\1")[:-1], record(1) + b"trailing"])
def test_a_response_whose_records_cannot_be_walked_keeps_its_question(records: bytes) -> None:
    cut = dns.message.from_wire(wire.truncate(message(counts=(1, 1, 0, 1), records=records), 512))
    assert cut.flags & dns.flags.TC
    assert [str(question.name) for question in cut.question] == ["www.example.org."]


@pytest.mark.parametrize("count", [0, 2, 65535])
def test_a_response_with_another_number_of_questions_is_cut_to_its_header(count: int) -> None:
    cut = wire.truncate(message(QUESTION * min(count, 2), counts=(count, 0, 0, 0)), 512)
    assert cut == HEADER[:2] + b"\3\0" + b"\0" * 8


@given(st.binary(min_size=12, max_size=300), st.integers(0, 2))
def test_whatever_is_cut_can_be_parsed(octets: bytes, questions: int) -> None:
    octets = octets[:4] + bytes((0, questions)) + octets[6:]
    cut = wire.truncate(octets, 512)
    assert len(cut) <= 512
    assert cut[2] & wire.TC
    end = wire.question_end(cut) if cut[5] else 12
    assert wire.find_opts(cut, end) == ([wire.opt_of(cut)] if cut[11] else [])


# names


@given(NAMES)
def test_a_name_in_text_is_what_dnspython_writes_and_reads_back(name: bytes) -> None:
    text = wire.name_to_text(name)
    assert text == dns.name.from_wire(name, 0)[0].to_text()
    assert wire.name_from_text(text) == name
    assert text.isascii()
    assert text.isprintable()
    assert wire.label_count(name) == len(dns.name.from_wire(name, 0)[0]) - 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (".", b"\0"),
        ("example.org", b"\7example\3org\0"),
        ("example.org.", b"\7example\3org\0"),
        ("ExAmple.ORG", b"\7ExAmple\3ORG\0"),
        (r"a\.b.org", b"\3a.b\3org\0"),
        (r"\000\255\\.org", b"\3\0\xff\\\3org\0"),
        ("*.example.org", b"\1*\7example\3org\0"),
        ("bücher.example", b"\x0dxn--bcher-kva\7example\0"),
        ("bücher.example.", b"\x0dxn--bcher-kva\7example\0"),
    ],
)
def test_a_name_is_read_from_its_text(text: str, name: bytes) -> None:
    assert wire.name_from_text(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "..", ".org", "a..b", "x" * 64, ".".join(["x" * 63] * 4), "a\\", r"\25", r"\256", r"\2x5", "ü" * 70 + ".org"],
)
def test_text_that_is_no_name_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        wire.name_from_text(text)


@given(st.text(max_size=80))
def test_any_text_gives_a_name_or_a_value_error(text: str) -> None:
    try:
        name = wire.name_from_text(text)
    except ValueError:
        return
    assert wire.name_end(name, 0) == len(name)


@given(NAMES, NAMES)
def test_below_means_by_whole_labels(name: bytes, zone: bytes) -> None:
    parsed_zone = dns.name.from_wire(zone, 0)[0]
    for candidate in (name, name[:-1] + zone):
        if len(candidate) <= 255:
            expected = dns.name.from_wire(candidate, 0)[0].is_subdomain(parsed_zone)
            assert wire.is_below(candidate.lower(), zone.lower()) == expected


def test_a_label_that_looks_like_the_end_of_a_zone_is_not_in_it() -> None:
    assert not wire.is_below(b"\x0bx\7example\3or\3org\0", b"\7example\3org\0")
    assert not wire.is_below(b"\x0cx\7example\3or\3org\0", b"\3org\0"[:0] + b"\7example\3org\0")
    assert not wire.is_below(b"\x0b\2xx\7example\0", b"\7example\0")
    assert not wire.is_below(b"", b"\0")
    assert not wire.is_below(b"\3org\0", b"\7example\3org\0")
