"""The id that a producer gives all messages of one client query."""

import pytest

from dnsproxy.tap.query_id import query_id

ID = "0123456789abcdef"


@pytest.mark.parametrize(
    "extra",
    [
        b'{"query/id":"0123456789abcdef"}',
        b'{"name": "www.example.org.", "query/id": "0123456789ABCDEF", "rcode": null}',
        b'{"trace":"ffffffffffffffff","query/id":"0123456789abcdef"}',
        b"0123456789abcdef",
        b"id=0123456789abcdef upstream=192.0.2.1:53",
        b"192.0.2.1 0123456789abcdef/2 fedcba9876543210",
    ],
)
def test_it_is_found_in_json_and_anywhere_in_text(extra: bytes) -> None:
    assert query_id(extra) == ID


@pytest.mark.parametrize(
    "extra",
    [
        None,
        b"",
        b"-",
        b"0123456789abcde",
        b"0123456789abcdef0",
        b"x0123456789abcdefx",
        b"0123456789abcdeg",
        b"\xff\xfe",
    ],
)
def test_anything_else_is_none(extra: bytes | None) -> None:
    assert query_id(extra) is None
