"""EDNS options for people."""

import pytest

from dnsproxy.tap.edns import option_text, subnet_text
from tests.support import wire


@pytest.mark.parametrize(
    ("code", "data", "text"),
    [
        (3, b"gpdns-fra", "gpdns-fra"),
        (3, b"\x00\xff", None),
        (8, wire.ecs("192.0.2.0", 24)[1], "192.0.2.0/24/0"),
        (8, wire.ecs("2001:db8::", 56, 48)[1], "2001:db8::/56/48"),
        (8, b"\0\1\x18", None),
        (8, b"\0\3\x18\0abc", None),
        (8, b"\0\1\x20\0abcde", None),
        (10, b"12345678", "3132333435363738"),
        (10, b"12345678abcdefgh", "3132333435363738 6162636465666768"),
        (11, b"\0\x64", "10.0 s"),
        (11, b"", None),
        (12, bytes(20), None),
        (15, b"\0\x0f", "15 Blocked"),
        (15, b"\0\x12no \xff\0", "18 Prohibited: no \ufffd"),
        (15, b"\xff\xff", "65535"),
        (15, b"\0", None),
        (65001, b"text", "text"),
        (65001, b"", None),
    ],
)
def test_options_say_what_they_mean(code: int, data: bytes, text: str | None) -> None:
    assert option_text(code, data) == text


def test_a_subnet_keeps_the_bits_that_were_sent() -> None:
    assert subnet_text(b"\0\1\x18\0\xc0\0\2") == "192.0.2.0/24/0"
    assert subnet_text(b"\0\1\0\0") == "0.0.0.0/0/0"
