"""Record data against dnspython, for every type."""

import contextlib

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.rdata import data_text, generic_text, read_name
from dnsproxy.wire import WireError

TEXTS = {
    "A": "192.0.2.1",
    "AAAA": "2001:db8::1",
    "NS": "ns.example.org.",
    "CNAME": "www.example.org.",
    "PTR": "host.example.org.",
    "DNAME": "example.net.",
    "MX": "10 mail.example.org.",
    "TXT": '"one" "two \\"quoted\\" \\000\\255 \\\\"',
    "SOA": "ns.example.org. host\\.master.example.org. 2024010101 3600 900 604800 4294967295",
    "SRV": "0 5 443 www.example.org.",
    "CAA": '0 issue "ca.example.org"',
    "HTTPS": '1 . alpn="h2,h3" ipv4hint="192.0.2.1"',
    "SVCB": '1 svc.example.org. port="8443"',
    "DS": "60485 8 1 2bb183af5f22588179a53b0a98631fad1a292118",
    "NAPTR": '10 20 "s" "SIP+D2U" "" _sip._udp.example.org.',
    "TLSA": "3 0 0 00",
    "TYPE65280": "\\# 3 010203",
}


@pytest.mark.parametrize("rtype", TEXTS)
def test_data_is_in_presentation_form(rtype: str) -> None:
    number = dns.rdatatype.from_text(rtype)
    data = dns.rdata.from_text("IN", number, TEXTS[rtype]).to_wire()
    assert data is not None
    octets = bytes(12) + data
    assert data_text(octets, number, 1, 12, len(octets)) == TEXTS[rtype]


@given(st.sampled_from([1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 64, 65280]), st.binary(max_size=40))
def test_any_data_is_what_dnspython_says_or_an_error(rtype: int, data: bytes) -> None:
    octets = bytes(12) + data
    expected = None
    kind = dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype)
    with contextlib.suppress(Exception):
        expected = dns.rdata.from_wire(*kind, octets, 12, len(data)).to_text() if data else ""
    found = None
    with contextlib.suppress(WireError):
        found = data_text(octets, rtype, 1, 12, len(octets))
    assert found == expected


def test_compressed_names_are_absolute() -> None:
    octets = bytes(12) + b"\7example\3org\0" + b"\0\x0a\4mail\xc0\x0c"
    assert data_text(octets, 15, 1, 25, len(octets)) == "10 mail.example.org."
    assert read_name(octets, 27) == ("mail.example.org.", 34)


@pytest.mark.parametrize("rclass", [254, 255])
def test_updates_have_the_data_of_the_internets_class(rclass: int) -> None:
    assert data_text(bytes(12) + b"\xc0\0\2\1", 1, rclass, 12, 16) == "192.0.2.1"
    assert data_text(bytes(12), 1, rclass, 12, 12) == ""


def test_addresses_of_other_classes_are_not_the_internets() -> None:
    assert data_text(bytes(12) + b"\xc0\0\2\1", 1, 77, 12, 16) == "\\# 4 c0000201"


@pytest.mark.parametrize("octets", [b"\xc0\x0c", b"\xc0", b"\xc0\x14", b"\4abc", b"\x80a", b"\1a" * 130 + b"\0", b""])
def test_names_that_lead_nowhere_are_an_error(octets: bytes) -> None:
    with pytest.raises(WireError):
        read_name(bytes(12) + octets, 12)


def test_a_pointer_may_lead_to_an_earlier_name_only() -> None:
    octets = bytes(12) + b"\1a\xc0\x10\1b\xc0\x0c"
    with pytest.raises(WireError, match="leads nowhere"):
        read_name(octets, 16)


def test_a_name_of_255_octets_is_the_longest() -> None:
    longest = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert read_name(bytes(12) + longest, 12)[1] == 12 + 255
    with pytest.raises(WireError):
        read_name(bytes(12) + b"\1a" + longest, 12)


def test_generic_data() -> None:
    assert (generic_text(b"\1\xff"), generic_text(b"")) == ("\\# 2 01ff", "\\# 0")
