"""What workers and their supervisor say about taps that listen."""

import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import trio_test

from dnsproxy.dnstap.destination import ListenUrl, TlsOptions
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relay_records import (
    MAX_PAYLOAD,
    Kind,
    Record,
    RecordDecoder,
    RecordError,
    RecordStream,
    described,
    encode,
    receive_first,
    understood,
    written,
)

RECORDS = st.lists(st.builds(Record, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=50)))


@given(RECORDS, st.integers(1, 20))
def test_records_come_through_in_whatever_pieces(records: list[Record], size: int) -> None:
    octets = b"".join(map(encode, records))
    decoder = RecordDecoder()
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    assert [record for piece in pieces for record in decoder.receive_data(piece)] == records


@given(st.binary(max_size=200))
def test_any_octets_are_records_or_the_documented_error(octets: bytes) -> None:
    try:
        RecordDecoder().receive_data(octets)
    except RecordError:
        pass


def test_a_record_that_is_too_long_is_an_error() -> None:
    with pytest.raises(RecordError, match="a record of"):
        RecordDecoder().receive_data(encode(Record(Kind.BATCH, 1, bytes(MAX_PAYLOAD + 1))))


def test_numbers_and_texts_are_read_from_payloads() -> None:
    assert written(7, 300) == Record(Kind.WRITTEN, 7, b"\0\0\1\x2c")
    assert written(7, 300).number == 300
    assert Record(Kind.LEFT, 7, b"closed").text == "closed"
    with pytest.raises(RecordError, match="a number of 2 octets"):
        _ = Record(Kind.WRITTEN, 7, b"\0\0").number


def test_the_first_record_can_be_read_without_what_follows() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(encode(Record(Kind.LISTENING, payload=b"tcp://192.0.2.1:6000")) + b"more")
        assert receive_first(ours).text == "tcp://192.0.2.1:6000"
        assert ours.recv(100) == b"more"
        theirs.close()
        with pytest.raises(RecordError, match="end of stream"):
            receive_first(ours)


def test_what_has_to_be_known_of_a_tap_is_understood() -> None:
    url = ListenUrl.from_toml("tls://[::1]:6000")
    tls = TlsOptions(ca="ca.pem", cert="cert.pem", key="key.pem")
    told = understood(described(OutputOptions("tap", url, tls, 10, 1000, listening=True)))
    assert (told.name, str(told.destination), told.tls) == ("tap", "tls://[::1]:6000", tls)
    with pytest.raises(LookupError):
        understood({"name": "tap"})


@trio_test
async def test_a_stream_sends_what_is_put_to_the_last() -> None:
    ours, theirs = map(RecordStream, socket.socketpair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all)
        ours.put(Record(Kind.OFFERING, 1))
        assert await theirs.receive() == [Record(Kind.OFFERING, 1)]
        big = Record(Kind.BATCH, 1, bytes(300_000))
        ours.put(big)
        ours.put(Record(Kind.END), last=True)
        received: list[Record] = []
        while len(received) < 2:
            received += await theirs.receive()
        assert received == [big, Record(Kind.END)]
    ours.close()
    with pytest.raises(RecordError, match="end of stream"):
        await theirs.receive()
    theirs.close()


@trio_test
async def test_a_stream_whose_other_end_is_gone_says_so() -> None:
    ours, theirs = map(RecordStream, socket.socketpair())
    theirs.put(Record(Kind.END))
    theirs.close()
    ours.put(Record(Kind.END), last=True)
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all()
    ours.close()
