"""EDNS options as miekg/dns prints them."""

import pytest

from dnsproxy.tap.forms.render.miekg_edns import opt_text, options_text
from dnsproxy.tap.forms.render.miekg_names import Malformed
from tests.support.wire import option


def text(code: int, data: bytes) -> str:
    octets = option(code, data)
    return options_text(octets, 0, len(octets)).removeprefix("\n; ")


def test_the_pseudo_section_has_version_flags_and_size() -> None:
    assert (
        opt_text(1232, 0x0100_8000 | 3 << 16, "") == "\n;; OPT PSEUDOSECTION:\n; EDNS: version 3; flags: do; udp: 1232"
    )


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (1, "00010002000300000000000000040000000500", "LONG LIVED QUERIES: 1 2 3 4 5"),
        (2, "00000e10", "UPDATE LEASE: 3600 0"),
        (2, "00000e1000000001", "UPDATE LEASE: 3600 1"),
        (3, "6e73e9", "NSID: 6e73e9  (n)(s)(é)"),
        (4, "736970", "ESU: sip"),
        (5, "080d63", "DNSSEC ALGORITHM UNDERSTOOD:  RSASHA256 ECDSAP256SHA256 99"),
        (6, "0109", "DS HASH UNDERSTOOD:  SHA1 9"),
        (7, "01", "NSEC3 HASH UNDERSTOOD:  SHA1"),
        (8, "00011800c00002", "SUBNET: 192.0.2.0/24/0"),
        (8, "0002382020010db8", "SUBNET: [2001:db8::]/56/32"),
        (8, "0002803000000000000000000000ffffc0000201", "SUBNET: 192.0.2.1/128/48"),
        (8, "00000000", "SUBNET: 0.0.0.0/0/0"),
        (9, "00000001", ""),
        (10, "0102030405060708", "COOKIE: 0102030405060708"),
        (11, "", "KEEPALIVE: use tcp keep-alive, timeout omitted"),
        (11, "0064", "KEEPALIVE: use tcp keep-alive, timeout 10000ms"),
        (11, "ffff", "KEEPALIVE: use tcp keep-alive, timeout 65436ms"),
        (12, "0000ab", "PADDING: 0000AB"),
        (15, "000f", "EDE: 15 (Blocked): ()"),
        (15, "ffff6e6f20ff", "EDE: 65535: (no \udcff)"),
        (65001, "abcd", "LOCAL OPT: 65001:0xabcd"),
    ],
)
def test_each_option_has_its_form(code: int, data: str, expected: str) -> None:
    assert text(code, bytes.fromhex(data)) == expected


@pytest.mark.parametrize(
    ("code", "data", "why"),
    [
        (1, "00" * 17, "buffer size too small"),
        (2, "00", "buffer size too small"),
        (8, "0001", "buffer size too small"),
        (8, "00001800", "bad address family"),
        (8, "00031800", "bad address family"),
        (8, "00012100", "bad netmask"),
        (8, "00020081", "bad netmask"),
        (9, "00", "buffer size too small"),
        (11, "00", "length mismatch, want 0/2 but got 1"),
        (15, "00", "buffer size too small"),
    ],
)
def test_a_wrong_option_has_the_library_s_error(code: int, data: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        text(code, bytes.fromhex(data))


def test_options_that_are_cut_are_malformed() -> None:
    for octets in (b"\0", option(3, b"abc")[:-1]):
        with pytest.raises(Malformed, match="overflow unpacking opt"):
            options_text(octets, 0, len(octets))
