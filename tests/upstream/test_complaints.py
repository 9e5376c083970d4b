"""Complaints about upstreams: all are counted, few are told."""

import logging

import pytest

from dnsproxy.flight import Flights
from dnsproxy.upstream.complaints import AGAIN_S, REASONS, Complaints

URL = "h3://192.0.2.1:443/dns-query"


def test_the_same_complaint_is_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    flights = Flights()
    complaints = Complaints(URL, flights)
    with caplog.at_level(logging.WARNING, "dnsproxy"):
        for _ in range(3):
            complaints.complain("HTTP status 404")
        complaints.complain("HTTP status 503")
        flights.now = AGAIN_S
        complaints.complain("HTTP status 404")
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"upstream {URL}: HTTP status {status}" for status in (404, 503, 404)]
    assert complaints.counts == {"HTTP status 404": 4, "HTTP status 503": 1}


def test_reasons_are_bounded() -> None:
    complaints = Complaints(URL, Flights())
    for number in range(2 * REASONS):
        complaints.complain(f"reason {number}")
    assert len(complaints.counts) == len(complaints.told_at) == REASONS
