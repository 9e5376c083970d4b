"""What the cache keeps of an answer: any octets, every record's TTL, the OPT that goes."""

import struct

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone
import pytest
from dnsproxy_cache.entry import Entry
from dnsproxy_cache.reading import Answer, Bounds, read
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.message import Query
from dnsproxy.testing import make_query
from tests.plugins.cache_bench import answer, record, ttls

QUERY = make_query("www.example.org.", use_edns=0)
OPT = b"\0" + struct.pack("!HHIH", dns.rdatatype.OPT, 1232, 0, 0)
RECORDS = [
    "www.example.org. {} IN CNAME a.example.org.",
    "a.example.org. {} IN A 192.0.2.1",
    "a.example.org. {} IN AAAA 2001:db8::1",
    "example.org. {} IN NS ns.a.example.org.",
    "example.org. {} IN MX 10 mail.example.org.",
    'txt.example.org. {} IN TXT "text" "more"',
    "_sip._udp.example.org. {} IN SRV 1 2 53 a.example.org.",
    "example.net. {} IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 70000",
]
WIDE = Bounds(0, 2**31 - 1, 3600)
TTLS = st.integers(1, 2**31 - 1)
SECTIONS = st.lists(st.tuples(st.sampled_from(RECORDS), TTLS, st.integers(0, 2)), unique_by=lambda one: one[0])


def response(query: Query, records: list[tuple[str, int, int]]) -> bytes:
    """An answer with an A record and these: text with a place for the TTL, the TTL, the section."""
    sections = [[text.format(ttl) for text, ttl, section in records if section == number] for number in range(3)]
    sections[0].insert(0, "www.example.org. 1000000 IN A 192.0.2.99")
    return answer(query, *sections).wire


def parts(message: dns.message.Message) -> list[list[str]]:
    """The records without their TTLs."""
    return [sorted(rrset.to_rdataset().to_text() for rrset in section) for section in message.sections]


def kept(octets: bytes, query: Query = QUERY, bounds: Bounds = WIDE) -> Answer:
    found = read(octets, query.shape, bounds)
    assert found is not None
    return found


@given(SECTIONS, st.booleans(), st.floats(0, 1, exclude_max=True))
def test_what_is_kept_is_the_answer_with_every_ttl_counted_down(
    records: list[tuple[str, int, int]], edns: bool, part: float
) -> None:
    octets = response(make_query(use_edns=0 if edns else -1), records)
    before = dns.message.from_wire(octets)
    found = kept(octets)
    assert found.life == min(ttls(before))
    entry = Entry(b"key")
    entry.fill(found, 7.5, edns)
    later = 7.5 + found.life * part
    entry.count_down(later)
    after = dns.message.from_wire(entry.wire)
    assert after.edns == -1
    assert ttls(after) == [ttl - int(later - 7.5) for ttl in ttls(before)]
    for rrset in (rrset for section in (*before.sections[1:], *after.sections[1:]) for rrset in section):
        rrset.ttl = 0
    assert after.sections == before.sections
    assert dns.message.from_wire(entry.respond(True, False).wire).sections == before.sections


@given(SECTIONS, st.integers(1, 100), st.integers(100, 10**6))
def test_ttls_are_kept_within_bounds(records: list[tuple[str, int, int]], least: int, most: int) -> None:
    octets = response(QUERY, records)
    found = kept(octets, bounds=Bounds(least, most, 3600))
    shown = ttls(dns.message.from_wire(found.wire))
    assert shown == [min(max(ttl, least), most) for ttl in ttls(dns.message.from_wire(octets))]
    assert found.life == min(shown)


@given(st.binary(max_size=200))
def test_any_octets_are_kept_or_not(octets: bytes) -> None:
    for wire in (octets, QUERY.wire[:2] + b"\x81\x80\0\1" + octets[:6] + QUERY.shape.question + octets[6:]):
        if len(wire) >= 12:
            read(wire, QUERY.shape, Bounds())


@given(SECTIONS, st.data())
def test_a_damaged_answer_is_kept_or_not(records: list[tuple[str, int, int]], data: st.DataObject) -> None:
    octets = bytearray(response(QUERY, records))
    at = data.draw(st.integers(4, len(octets) - 1))
    octets[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(12, len(octets)))
    read(bytes(octets[:cut]), QUERY.shape, Bounds())


@pytest.mark.parametrize("cut", [1, 5, 11, 30])
def test_an_answer_whose_octets_are_missing_is_not_kept(cut: int) -> None:
    octets = response(QUERY, [])
    assert read(octets[:-cut], QUERY.shape, Bounds()) is None
    assert read(octets + b"\0" * cut, QUERY.shape, Bounds()) is None


def with_additional(*records: bytes) -> bytes:
    """The answer to a query without EDNS, with these records behind it."""
    octets = response(make_query(id=1), [])
    return octets[:10] + len(records).to_bytes(2, "big") + octets[12:] + b"".join(records)


def test_only_an_opt_at_the_end_can_be_taken_away() -> None:
    glue = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + b"\xc0\0\2\1"
    tsig = b"\3key\0" + struct.pack("!HHIH", 250, 255, 0, 0)
    assert kept(with_additional(glue, OPT)).wire == with_additional(glue)
    for records in ((OPT, glue), (OPT, OPT), (OPT, tsig), (b"\1x" + OPT,)):
        assert read(with_additional(*records), QUERY.shape, Bounds()) is None


def test_an_opt_among_the_answers_is_not_kept() -> None:
    octets = QUERY.wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + QUERY.shape.question + OPT
    assert read(octets, QUERY.shape, Bounds()) is None


def test_extended_rcodes_are_not_kept() -> None:
    bad = OPT[:5] + b"\1" + OPT[6:]
    assert read(with_additional(bad), QUERY.shape, Bounds()) is None


def test_an_answer_that_leaves_no_room_for_an_opt_is_not_kept() -> None:
    message = dns.message.make_response(QUERY.message)
    message.answer.append(dns.rrset.from_text(*record("www.example.org. 9 IN A 192.0.2.1")))
    texts = ['"' + "x" * 255 + '"'] * 250
    message.answer.append(dns.rrset.from_text(*record(f"www.example.org. 9 IN TXT {' '.join(texts)}")))
    octets = message.to_wire(max_size=65535)
    filler = b"\xc0\x0c" + struct.pack("!HHIH", 16, 1, 9, 65400 - len(octets)) + bytes(65400 - len(octets))
    filled = octets[:8] + b"\0\1" + octets[10:-11] + filler + octets[-11:]
    assert read(octets, QUERY.shape, Bounds()) is not None
    assert read(filled, QUERY.shape, Bounds()) is None


def test_a_soa_that_is_cut_ends_nothing() -> None:
    soa = b"\0" + struct.pack("!HHIH", 6, 1, 60, 8) + bytes(8)
    octets = QUERY.wire[:2] + b"\x81\x83\0\1\0\0\0\1\0\0" + QUERY.shape.question + soa
    assert read(octets, QUERY.shape, Bounds()) is None


def test_a_soa_asked_for_that_does_not_exist_is_nodata() -> None:
    query = make_query(qtype="SOA")
    soa = "example.org. 600 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 60"
    assert kept(answer(query, [], [soa]).wire, query).life == 60
    assert kept(answer(query, [soa]).wire, query).life == 600


def test_octets_that_need_no_change_are_kept_as_they_came() -> None:
    octets = response(make_query(), [])
    assert kept(octets).wire is octets
