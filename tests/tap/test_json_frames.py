"""JSON lines back to frames: octet for octet with `frame`, and with the same meaning without it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.compose import compose
from dnsproxy.tap.forms.json_lines import JsonLines, values_of
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.json_frames import frame_of, frame_of_line, time_ns
from tests.tap.frames import corpus_payloads, payload
from tests.tap.test_compose import fields

SECOND_NS = 1_700_000_000_000_000_000


def without_frame(octets: bytes, wire: bool = True) -> dict[str, Any]:
    return values_of(TapFrame(octets), wire)


@given(fields)
def test_with_the_frame_a_line_comes_back_octet_for_octet(fields: Any) -> None:
    octets = compose(fields)
    assert frame_of_line(JsonLines(frame=True).write(TapFrame(octets))).payload == octets


@pytest.mark.parametrize("octets", corpus_payloads())
def test_recorded_frames_come_back_from_the_other_keys_too(octets: bytes) -> None:
    values = without_frame(octets)
    assert without_frame(frame_of(values).payload) == values


@given(
    st.builds(
        dict,
        identity=st.none() | st.text(max_size=20).map(str.encode),
        extra=st.none() | st.text(max_size=20).map(str.encode),
        socket_family=st.sampled_from([None, 1, 2]),
        socket_protocol=st.sampled_from([None, 1, 2, 3, 4, 5, 6, 7]),
        http_protocol=st.sampled_from([None, 1, 2, 3]),
        query_address=st.sampled_from([None, "192.0.2.1", "2001:db8::1"]),
        query_port=st.none() | st.integers(0, 65535),
        query_time=st.none() | st.tuples(st.integers(0, 2**33), st.integers(0, 999_999_999)),
        query_message=st.none() | st.binary(max_size=40),
        query_zone=st.sampled_from([None, b"\0", b"\7example\3org\0", b"\4a.b\\\0"]),
    )
)
def test_the_other_keys_are_enough_for_what_is_as_it_should_be(fields: dict[str, Any]) -> None:
    octets = payload("CLIENT_QUERY", **fields)
    assert frame_of(without_frame(octets)).payload == octets


def test_a_policy_comes_back() -> None:
    policy = {"type": "RPZ", "rule": b"ads.example.", "action": 1, "match": 1, "value": b"www"}
    octets = payload("CLIENT_RESPONSE", policy=policy)
    assert frame_of(without_frame(octets)).payload == octets


def test_an_unknown_value_is_the_number_in_its_string() -> None:
    octets = payload("CLIENT_QUERY", socket_protocol=3).replace(b"\x18\x03", b"\x18\x63", 1)
    values = without_frame(octets)
    assert values["socket_protocol"] == "99"
    assert frame_of(values).payload == octets


def test_what_is_no_address_is_shown_and_comes_back_as_it_is() -> None:
    octets = payload("CLIENT_QUERY", query_address=b"\1\2\3")
    assert without_frame(frame_of(without_frame(octets)).payload) == without_frame(octets)


def test_keys_that_are_missing_count_as_null_and_unknown_ones_not_at_all() -> None:
    assert frame_of({"type": "CLIENT_QUERY"}).payload == b"\x72\x02\x08\x05\x78\x01"
    assert frame_of({"type": "CLIENT_QUERY", "colour": "blue"}).payload == b"\x72\x02\x08\x05\x78\x01"


def test_time_alone_is_the_messages_own() -> None:
    moment = "2023-11-14T22:13:20.000000001Z"
    query, response = (frame_of({"type": f"CLIENT_{type}", "time": moment}) for type in ("QUERY", "RESPONSE"))
    assert (query.query_time_ns, query.response_time_ns) == (SECOND_NS + 1, None)
    assert (response.query_time_ns, response.response_time_ns) == (None, SECOND_NS + 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("2023-11-14T22:13:20.123456789Z", SECOND_NS + 123_456_789),
        ("2023-11-14T22:13:20Z", SECOND_NS),
        ("2023-11-14t23:13:20.5+01:00", SECOND_NS + 500_000_000),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_times_are_those_of_rfc_3339(text: str | None, expected: int | None) -> None:
    assert time_ns(text) == expected


@pytest.mark.parametrize("text", ["", "now", "2023-11-14", "2023-13-14T22:13:20Z", "1969-12-31T23:59:59Z", "22:13:20"])
def test_others_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        time_ns(text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "1",
        "{}",
        "[" * 100_000,
        '{"type": null}',
        '{"type": "CLIENT"}',
        '{"frame": "AA"}',
        '{"frame": "AAAA"}',
        '{"frame": 1}',
        '{"type": "CLIENT_QUERY", "query_address": "localhost"}',
        '{"type": "CLIENT_QUERY", "query_port": -1}',
        '{"type": "CLIENT_QUERY", "query_port": "53"}',
        '{"type": "CLIENT_QUERY", "query_message": "?"}',
        '{"type": "CLIENT_QUERY", "query_zone": ".."}',
        '{"type": "CLIENT_QUERY", "policy": 1}',
        '{"type": "CLIENT_QUERY", "time": 1}',
        '{"type": "CLIENT_QUERY", "extra": 1}',
        '{"type": "CLIENT_QUERY", "id": 1, "flags": ["xx"]}',
        '{"type": "CLIENT_QUERY", "id": 70000}',
        '{"type": "CLIENT_QUERY", "id": 1, "answer": [{}]}',
        b"\xff",
    ],
)
def test_what_stands_for_no_frame_is_a_value_error(line: str | bytes) -> None:
    with pytest.raises(ValueError):
        frame_of_line(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = list(values_of(TapFrame(payload("CLIENT_QUERY")), True, True))


@given(st.dictionaries(st.sampled_from(KEYS), json_values), st.booleans())
def test_any_object_is_a_frame_or_a_value_error(values: dict[str, Any], is_query: bool) -> None:
    values["type"] = "CLIENT_QUERY" if is_query else "CLIENT_RESPONSE"
    try:
        frame_of_line(json.dumps(values))
    except ValueError:
        pass
