"""Go's ways of printing, from its documentation and what its programs were seen to print."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.go import address_text, clock_text, json_string, quote, stamp_text, text_of


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ("c0000201", "192.0.2.1"),
        ("20010db8000000000000000000000001", "2001:db8::1"),
        ("00000000000000000000ffffc0000201", "192.0.2.1"),
        ("000000000000000000000000c0000201", "::c000:201"),
        ("00000000000000000000000000000001", "::1"),
        ("00000000000000000000000000000000", "::"),
        ("20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"),
        ("", "<nil>"),
        ("c00002", "?c00002"),
    ],
)
def test_an_address_is_written_as_net_ip_writes_it(packed: str, text: str) -> None:
    assert address_text(bytes.fromhex(packed)) == text


@pytest.mark.parametrize(
    ("octets", "quoted"),
    [
        (b"ns1.example.org", '"ns1.example.org"'),
        (b'a"b\\', r'"a\"b\\"'),
        (b"\x00\a\b\f\n\r\t\v\x1b\x7f", r'"\x00\a\b\f\n\r\t\v\x1b\x7f"'),
        (b"\xff\xc3", r'"\xff\xc3"'),
        ("é ∑ 😀".encode(), '"é ∑ 😀"'),
        ("\u00a0\u2028\U000e0001".encode(), r'"\u00a0\u2028\U000e0001"'),
    ],
)
def test_octets_are_quoted_as_strconv_quotes_them(octets: bytes, quoted: str) -> None:
    assert quote(octets) == quoted


@pytest.mark.parametrize(
    ("octets", "string"),
    [
        (b"plain \t\n", r'"plain \t\n"'),
        (b'<a href="x">&', r'"\u003ca href=\"x\"\u003e\u0026"'),
        (b"\b\f\x00\x1f\x7f", '"\\u0008\\u000c\\u0000\\u001f\x7f"'),
        (b"\\b\b", r'"\\b\u0008"'),
        ("é\u2028".encode(), r'"é\u2028"'),
        (b"\xff\xe2\x80x", r'"\ufffd\ufffd\ufffdx"'),
    ],
)
def test_a_json_string_is_safe_in_html_and_has_no_octets_that_are_no_utf8(octets: bytes, string: str) -> None:
    assert json_string(text_of(octets)) == string


@given(st.binary())
def test_every_json_string_is_one(octets: bytes) -> None:
    read = json.loads(json_string(text_of(octets)))
    assert read == "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in text_of(octets))


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "text"),
    [
        (1_700_000_000, 123_456_789, "2023-11-14T22:13:20.123456789"),
        (1_700_000_000, 125_000_000, "2023-11-14T22:13:20.125"),
        (1_700_000_000, 0, "2023-11-14T22:13:20"),
        (1_709_164_800, 1, "2024-02-29T00:00:00.000000001"),
        (1_700_000_000, 4_000_000_000, "2023-11-14T22:13:24"),
        (0, 0, "1970-01-01T00:00:00"),
        (253_402_300_800, 0, "10000-01-01T00:00:00"),
        ((1 << 64) - 1, 0, "1969-12-31T23:59:59"),
        ((1 << 64) - 62_167_219_201, 0, "-0001-12-31T23:59:59"),
        (1 << 63, 0, "292277026596-12-04T15:30:08"),
        ((1 << 63) - 1, 0, "292277026596-12-04T15:30:07"),
    ],
)
def test_a_time_has_no_zeros_at_its_end_and_wraps_round(seconds: int, nanoseconds: int, text: str) -> None:
    assert clock_text(seconds, nanoseconds, "T") == text


def test_a_stamp_has_only_digits() -> None:
    assert stamp_text(1_700_000_000) == "20231114221320"
    assert stamp_text((1 << 32) - 1) == "21060207062815"
