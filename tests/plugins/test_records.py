"""The records plugin: zone data in, answers in wire format out."""

import struct

import dns.message
import dns.name
import dns.rdatatype
import pytest
from dnsproxy_records import answers

from tests.plugins.zones import PASSED_ON, SOA, ZONE, answer, ask, authority, lines, make_query, records

# what is in the zone


def test_every_record_of_the_type_is_in_the_answer() -> None:
    message = ask(records(), "www.example.org.")
    assert lines(message) == ["www.example.org. 300 IN A 192.0.2.10", "www.example.org. 300 IN A 192.0.2.11"]
    assert message.rcode() == 0
    assert message.authority == []


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("www", "AAAA", "www.example.org. 600 IN AAAA 2001:db8::10"),
        ("www", "TXT", 'www.example.org. 300 IN TXT "hello" "world"'),
        ("odd", "TYPE65280", "odd.example.org. 300 IN TYPE65280 \\# 3 abcdef"),
        ("svc", "HTTPS", 'svc.example.org. 300 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.16"'),
        ("tree", "DNAME", "tree.example.org. 300 IN DNAME other.example.org."),
        ("alias", "CNAME", "alias.example.org. 300 IN CNAME www.example.org."),
        ("*.wild", "A", "*.wild.example.org. 300 IN A 192.0.2.13"),
    ],
)
def test_types_of_all_kinds_are_answered(name: str, qtype: str, expected: str) -> None:
    assert lines(ask(records(), f"{name}.{ZONE}", qtype)) == [expected]


def test_any_gets_everything_the_name_has() -> None:
    assert {rrset.rdtype.name for rrset in ask(records(), "www.example.org.", "ANY").answer} == {"A", "AAAA", "TXT"}


def test_owners_equal_to_the_question_are_pointers_to_it() -> None:
    query = make_query("www.example.org.")
    wire = answer(records(), query).wire
    assert wire[query.shape.question_end :].startswith(b"\xc0\x0c\0\1\0\1")
    assert len(wire) == query.shape.question_end + 2 * 16


def test_a_record_before_any_ttl_has_an_hour() -> None:
    assert lines(ask(records("www A 192.0.2.1"), "www.example.org.")) == ["www.example.org. 3600 IN A 192.0.2.1"]


def test_records_of_one_set_share_the_least_ttl() -> None:
    plugin = records("www 300 A 192.0.2.1\nwww 60 A 192.0.2.2")
    assert [rrset.ttl for rrset in ask(plugin, "www.example.org.").answer] == [60]


# what is not


@pytest.mark.parametrize(("name", "rcode"), [("no-such", 3), ("a.www", 3), ("www", 0), ("here", 0), ("below.here", 0)])
def test_what_is_missing_comes_with_the_soa(name: str, rcode: int) -> None:
    message = ask(records(), f"{name}.{ZONE}", "SRV")
    assert message.rcode() == rcode
    assert message.answer == []
    assert authority(message) == [SOA]


def test_a_soa_that_is_asked_for_keeps_its_ttl() -> None:
    assert lines(ask(records(), ZONE, "SOA")) == [SOA.replace(" 60 IN", " 300 IN")]


def test_a_zone_without_soa_gets_one() -> None:
    plugin = records("www A 192.0.2.1")
    expected = "example.org. 60 IN SOA example.org. nobody.invalid. 1 3600 1200 604800 60"
    assert authority(ask(plugin, "no-such.example.org.")) == [expected]
    assert lines(ask(plugin, ZONE, "SOA")) == [expected]


# zones


def test_names_outside_the_zones_are_passed_on() -> None:
    for name in ("www.example.net.", "org.", ".", "notexample.org.", "xexample.org."):
        assert answer(records(), make_query(name)) is PASSED_ON


def test_classes_other_than_in_are_passed_on() -> None:
    assert answer(records(), make_query("www.example.org.", qclass=3)) is PASSED_ON


def test_several_zones_share_one_text() -> None:
    plugin = records("www A 192.0.2.1\n1.2.0.192.in-addr.arpa. PTR www", ZONE, "2.0.192.in-addr.arpa.")
    expected = "1.2.0.192.in-addr.arpa. 3600 IN PTR www.example.org."
    assert lines(ask(plugin, "1.2.0.192.in-addr.arpa.", "PTR")) == [expected]
    assert authority(ask(plugin, "2.2.0.192.in-addr.arpa.", "PTR"))[0].startswith("2.0.192.in-addr.arpa. 60 IN SOA")


def test_the_inner_zone_of_two_answers() -> None:
    plugin = records("*.example.org. A 192.0.2.1\nwww.a.b A 192.0.2.2", ZONE, "a.b.example.org.")
    assert authority(ask(plugin, "x.a.b.example.org."))[0].startswith("a.b.example.org. ")
    assert ask(plugin, "b.example.org.").rcode() == 0
    assert lines(ask(plugin, "c.example.org.")) == ["c.example.org. 3600 IN A 192.0.2.1"]


def test_the_root_can_be_a_zone() -> None:
    plugin = records("www.example.org. A 192.0.2.1", ".")
    assert len(ask(plugin, "www.example.org.").answer) == 1
    assert ask(plugin, "no-such.").rcode() == 3
    assert ask(plugin, ".", "NS").rcode() == 0


# the message around it


def test_the_answer_is_authoritative_and_keeps_the_clients_id_and_flags() -> None:
    plain = answer(records(), make_query("www.example.org.", flags=0)).wire
    asked = answer(records(), make_query("www.example.org.", flags=0x0130)).wire
    assert plain[:4] == struct.pack("!HH", 4711, 0x8480)
    assert asked[:4] == struct.pack("!HH", 4711, 0x8590)


def test_the_question_comes_back_octet_by_octet() -> None:
    query = make_query("wWw.eXample.ORG.")
    wire = answer(records(), query).wire
    assert wire[12 : query.shape.question_end] == query.shape.question
    assert dns.message.from_wire(wire).answer[0].name.to_text() == "wWw.eXample.ORG."


@pytest.mark.parametrize("name", ["www", "no-such"])
@pytest.mark.parametrize("dnssec_ok", [False, True])
def test_an_opt_comes_exactly_if_the_client_sent_one(name: str, dnssec_ok: bool) -> None:
    plugin = records()
    cookie = b"\0\x0a\0\x08abcdefgh"
    opt = struct.pack("!BHHIH", 0, 41, 4096, 0x8000 if dnssec_ok else 0, len(cookie)) + cookie
    with_opt = ask(plugin, f"{name}.{ZONE}", opt=opt)
    assert (with_opt.edns, with_opt.payload, with_opt.ednsflags, with_opt.options) == (
        0,
        1232,
        0x8000 if dnssec_ok else 0,
        (),
    )
    assert ask(plugin, f"{name}.{ZONE}").edns == -1


def test_the_memory_for_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MEMO_OCTETS", 10 * answers.ENTRY_OCTETS)
    plugin = records()
    for qtype in range(1000, 1100):
        ask(plugin, "alias.example.org.", f"TYPE{qtype}")
    assert len(plugin._answers._memo) <= 11
