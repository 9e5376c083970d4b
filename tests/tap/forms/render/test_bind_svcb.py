"""SVCB's parameters as BIND checks and prints them."""

import struct

import pytest

from dnsproxy.tap.forms.render.bind_names import Unparsable
from dnsproxy.tap.forms.render.bind_svcb import parameters


def text(*pairs: tuple[int, bytes]) -> str:
    octets = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in pairs)
    return parameters(octets, 0, len(octets))[0]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ""),
        ([(0, b"\0\1\0\7"), (1, b"\2h2"), (7, b"/{?dns}")], ' mandatory=alpn,key7 alpn="h2" key7="/{?dns}"'),
        ([(1, b'\6a,b\\ "'), (2, b"")], r' alpn="a\\,b\\\\\032\"" no-default-alpn'),
        ([(3, b"\1\xbb")], " port=443"),
        ([(4, bytes((192, 0, 2, 1, 192, 0, 2, 2)))], " ipv4hint=192.0.2.1,192.0.2.2"),
        ([(6, bytes(15) + b"\1")], " ipv6hint=::1"),
        ([(5, b"abc")], " ech=YWJj"),
        ([(5, b""), (666, b""), (667, b'a"')], r' ech key666 key667="a\""'),
    ],
)
def test_a_parameter_has_its_form(pairs: list[tuple[int, bytes]], expected: str) -> None:
    assert text(*pairs) == expected


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, b"")],
        [(0, b"\0")],
        [(0, b"\0\0")],
        [(0, b"\0\1")],
        [(0, b"\0\3\0\1"), (1, b"\2h2"), (3, b"\0\1")],
        [(0, b"\0\1\0\1"), (1, b"\2h2")],
        [(1, b"")],
        [(1, b"\0")],
        [(1, b"\5h2")],
        [(2, b"")],
        [(1, b"\2h2"), (2, b"x")],
        [(3, b"\1")],
        [(4, b"")],
        [(4, b"\1")],
        [(6, bytes(15))],
        [(7, b"/")],
        [(9, b""), (8, b"")],
        [(8, b""), (8, b"")],
    ],
)
def test_wrong_parameters_are_refused(pairs: list[tuple[int, bytes]]) -> None:
    with pytest.raises(Unparsable):
        text(*pairs)


def test_a_parameter_that_is_cut_is_refused() -> None:
    for octets in (b"\0", b"\0\3\0", b"\0\3\0\2\1"):
        with pytest.raises(Unparsable):
            parameters(octets, 0, len(octets))
