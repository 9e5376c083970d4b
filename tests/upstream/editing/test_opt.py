"""The OPT of a message: found, read, replaced and taken out without harm to what stands round it."""

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.upstream.editing import opt
from tests.support import wire as dns_wire

NSID = (3, b"upstream")


def response(options: list[tuple[int, bytes]], *, rcode: int = 0) -> dns.message.Message:
    """With compressed names in every section."""
    made = dns.message.make_response(dns.message.make_query("www.example.org", "A", id=7, use_edns=0))
    made.answer.append(dns.rrset.from_text("www.example.org.", 300, "IN", "CNAME", "host.example.net."))
    made.answer.append(dns.rrset.from_text("host.example.net.", 300, "IN", "A", "192.0.2.1"))
    made.authority.append(dns.rrset.from_text("example.net.", 300, "IN", "NS", "ns.example.com."))
    made.additional.append(dns.rrset.from_text("ns.example.com.", 300, "IN", "A", "192.0.2.53"))
    made.use_edns(
        0, 0, 1232, options=[dns.edns.GenericOption(dns.edns.OptionType.make(code), data) for code, data in options]
    )
    made.set_rcode(dns.rcode.Rcode(rcode))
    return made


def in_the_middle(octets: bytes) -> bytes:
    """The message, its OPT put before the additional records, and records behind it that point to each other."""
    start = opt.find(octets)
    record = octets[start:]
    head = octets[:start]
    first = len(head) + len(record)
    owner = b"\4glue\7example\3edu\0"
    behind = owner + bytes((0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, 9))
    pointer = (0xC000 | first).to_bytes(2)
    behind += pointer + bytes((0, 28, 0, 1, 0, 0, 1, 44, 0, 16)) + bytes(15) + b"\1"
    exchange = b"\0\5\4mail" + (0xC000 | first + 5).to_bytes(2)
    behind += b"\xc0\x0c" + bytes((0, 15, 0, 1, 0, 0, 1, 44, 0, len(exchange))) + exchange
    return head[:10] + (int.from_bytes(head[10:12]) + 3).to_bytes(2) + head[12:] + record + behind


def texts(octets: bytes) -> list[str]:
    """Every record but the OPT."""
    message = dns.message.from_wire(octets)
    return [rrset.to_text() for section in message.sections[1:] for rrset in section]


@pytest.mark.parametrize("place", [bytes, in_the_middle])
def test_an_opt_is_taken_out_and_all_else_stays(place: type[bytes]) -> None:
    octets = place(response([NSID, (12, bytes(200))]).to_wire())
    bare = opt.without(octets, opt.find(octets))
    assert dns.message.from_wire(bare).edns == -1
    assert opt.find(bare) == -1
    assert texts(bare) == texts(octets)
    assert bare[:10] == octets[:10]


@pytest.mark.parametrize("place", [bytes, in_the_middle])
@pytest.mark.parametrize("options", [b"", opt.option(12, bytes(99)), opt.option(10, bytes(24))])
def test_options_are_replaced_and_all_else_stays(place: type[bytes], options: bytes) -> None:
    octets = place(response([NSID]).to_wire())
    start = opt.find(octets)
    edited = opt.with_options(octets, start, options)
    assert opt.find(edited) == start
    assert b"".join(opt.option(code, data) for code, data in opt.options_at(edited, start)) == options
    assert texts(edited) == texts(octets)
    assert edited[start : start + 9] == octets[start : start + 9]


def test_names_behind_it_follow_those_they_point_to() -> None:
    octets = in_the_middle(response([(12, bytes(200))]).to_wire())
    records = texts(opt.without(octets, opt.find(octets)))
    assert "glue.example.edu. 300 IN AAAA ::1" in records
    assert "www.example.org. 300 IN MX 5 mail.example.edu." in records


def test_an_rcode_that_takes_an_opt_becomes_servfail_without() -> None:
    octets = response([], rcode=23).to_wire()
    assert octets[3] & 15 == 7
    assert opt.without(octets, opt.find(octets))[3] & 15 == wire.SERVFAIL


def test_an_opt_with_an_owner_or_one_that_is_cut_is_none() -> None:
    octets = response([NSID]).to_wire()
    start = opt.find(octets)
    assert opt.find(octets[:start] + b"\xc0\x0c" + octets[start + 1 :]) == -1
    assert opt.find(octets[:-1]) == -1
    assert opt.find(octets[:start]) == -1


def test_what_cannot_be_moved_is_an_error() -> None:
    octets = in_the_middle(response([NSID]).to_wire())
    with pytest.raises(wire.WireError):
        opt.without(octets[:-1], opt.find(octets))


def test_options_that_overlap_their_record_are_an_error() -> None:
    octets = response([NSID]).to_wire()
    start = opt.find(octets)
    broken = octets[: start + 14] + b"\xff" + octets[start + 15 :]
    with pytest.raises(wire.WireError):
        opt.options_at(broken, start)


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_any_octets_are_read_and_edited_or_refused(tail: bytes, options: bytes) -> None:
    whole = dns_wire.query("www.example.org", edns=True, options=[NSID])
    for octets in (tail, whole[:12] + tail, whole[:-7] + tail, whole + tail):
        start = opt.find(octets)
        if start >= 0:
            try:
                assert len(opt.with_options(octets, start, options)) >= start + opt.FIXED + len(options)
                assert len(opt.without(octets, start)) <= len(octets) - opt.FIXED
                opt.options_at(octets, start)
            except wire.WireError:
                continue
