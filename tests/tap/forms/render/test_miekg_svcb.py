"""SVCB's parameters as miekg/dns prints them."""

import pytest

from dnsproxy.tap.forms.render.miekg_names import Malformed
from dnsproxy.tap.forms.render.miekg_rdata import DATA

SVCB = 64


def text(parameters: bytes) -> str:
    data = b"\0\1\0" + parameters
    return DATA[SVCB].text(data, 0, len(data)).removeprefix("1 .")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (b"", ""),
        (b"\0\0\0\4\0\1\xff\xff", ' mandatory="alpn,"'),
        (b"\0\1\0\7\6a,b\\ \xe9", r' alpn="a\\\044b\\\092\ \233"'),
        (b"\0\1\0\0\0\2\0\0", ' alpn="" no-default-alpn=""'),
        (b"\0\7\0\x10/dns-query{?dns}", ' dohpath="/dns-query{?dns}"'),
        (b'\x02\x9a\0\4a;" ', r' key666="a\;\"\ "'),
    ],
)
def test_a_parameter_has_its_form(parameters: bytes, expected: str) -> None:
    assert text(parameters) == expected


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        (b"\0", "overflow unpacking SVCB"),
        (b"\0\1\0\5abc", "overflow unpacking SVCB"),
        (b"\xff\xff\0\0", "bad SVCB key"),
        (b"\0\3\0\2\0\1\0\3\0\2\0\1", "not in strictly increasing order"),
        (b"\0\0\0\1a", "not a multiple of 2"),
        (b"\0\1\0\1a", "alpn array overflowing"),
        (b"\0\2\0\1a", "must have no value"),
        (b"\0\3\0\1a", "not exactly 2 octets"),
        (b"\0\4\0\0", "not a multiple of 4"),
        (b"\0\6\0\1a", "not a multiple of 16"),
        (b"\0\6\0\x10" + b"\0" * 10 + b"\xff\xff\1\2\3\4", "expected ipv6, got ipv4"),
    ],
)
def test_a_wrong_parameter_has_the_library_s_error(parameters: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        text(parameters)
