"""HTTP as far as a scrape needs it: whatever comes, one response."""

from email.utils import parsedate_to_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.metrics_http import MAX_HEAD, PAGE_TYPE, Request

PAGE = b"dnsproxy_workers 1.0\n"


def respond(*parts: bytes) -> bytes:
    """The response to a request that comes in these parts, and then ends."""
    request = Request()
    for part in (*parts, b""):
        if request.receive_data(part):
            return request.refusal() or request.with_page(PAGE)
    raise AssertionError("the end is always time for a response")


def parsed(response: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return line, dict(field.split(": ", 1) for field in fields), body


def status(response: bytes) -> int:
    return int(parsed(response)[0].split(" ")[1])


PROMETHEUS = (
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9153\r\nUser-Agent: Prometheus/3.5.0\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)


def test_prometheus_gets_the_page_in_a_form_that_it_knows() -> None:
    line, fields, body = parsed(respond(PROMETHEUS))
    assert line == "HTTP/1.1 200 OK"
    assert (fields["Content-Type"], body) == (PAGE_TYPE, PAGE)
    assert (fields["Content-Length"], fields["Connection"]) == (str(len(PAGE)), "close")
    assert parsedate_to_datetime(fields["Date"]).tzinfo is not None


@given(st.lists(st.integers(0, len(PROMETHEUS)), max_size=20))
def test_a_request_may_come_in_any_pieces(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(PROMETHEUS)]
    pieces = [PROMETHEUS[begin:end] for begin, end in pairwise(ends)]
    assert status(respond(*filter(None, pieces))) == 200


@pytest.mark.parametrize(
    "request_octets",
    [
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics?name[]=dnsproxy_workers HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://127.0.0.1:9153/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\nGET /metrics HTTP/1.1\nHost: x\n\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\n",
    ],
)
def test_other_ways_of_asking_get_it_too(request_octets: bytes) -> None:
    assert parsed(respond(request_octets))[2] == PAGE


def test_head_gets_the_head_alone() -> None:
    _, fields, body = parsed(respond(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert (fields["Content-Length"], body) == (str(len(PAGE)), b"")
    assert parsed(respond(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"))[2] == b""


@pytest.mark.parametrize(
    "target", [b"/", b"/metrics/", b"/metric", b"/METRICS", b"//metrics", b"/?/metrics", b"*", b""]
)
def test_every_other_path_is_not_found(target: bytes) -> None:
    response = respond(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(response) == 404
    assert PAGE not in response


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"get"])
def test_other_methods_are_not_allowed(method: bytes) -> None:
    line, fields, _ = parsed(respond(method + b" /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"))
    assert (line, fields["Allow"]) == ("HTTP/1.1 405 Method Not Allowed", "GET, HEAD")


@pytest.mark.parametrize(
    "request_octets",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"GET /metrics\r\n\r\n",
        b"GET /metrics HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /metrics HTTP/1.1\r\n\r\n",
        b" GET /metrics HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0\0\1\0\0\1\0\0\0\0\0\0\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_bad_one(request_octets: bytes) -> None:
    assert status(respond(request_octets)) == 400


def test_a_head_that_does_not_end_is_refused_once_it_is_too_long() -> None:
    request = Request()
    assert not request.receive_data(b"GET /metrics HTTP/1.1\r\nX: ")
    assert request.receive_data(b"x" * MAX_HEAD)
    assert status(request.refusal()) == 431
    assert status(respond(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n")) == 431
    assert status(respond(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD - 100) + b"\r\n\r\n")) == 200


def test_without_a_page_the_fault_is_ours() -> None:
    request = Request()
    request.receive_data(PROMETHEUS)
    assert request.refusal() == b""
    assert status(request.with_page(b"")) == 500


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_any_octets_get_one_whole_response(parts: list[bytes]) -> None:
    line, fields, body = parsed(respond(*filter(None, parts)))
    assert line.startswith("HTTP/1.1 ")
    assert len(body) == int(fields["Content-Length"])
