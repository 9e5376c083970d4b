"""What a report counts."""

import pickle

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.tally import PROTOCOL, QTYPE, RCODE, TYPE, Tally
from tests.tap.dialogue import LISTENER, UPSTREAM, Dialogue
from tests.tap.frames import payload

CQ, CR, FQ, FR = 5, 6, 7, 8


def tally_of(*frames: TapFrame) -> Tally:
    tally = Tally()
    tally.add(frames)
    return tally


def test_frames_are_counted_by_what_they_are() -> None:
    tally = tally_of(*Dialogue().whole(0, 20), *Dialogue(qtype="AAAA").whole(100, 30, rcode="SERVFAIL"))
    assert tally.frames == 8
    assert tally.by(TYPE) == {CQ: 2, CR: 2, FQ: 2, FR: 2}
    assert tally.by(PROTOCOL) == {1: 8}
    assert tally.by(QTYPE) == {1: 4, 28: 4}
    assert tally.by(RCODE) == {0: 2, 2: 2}, "queries have no rcode"


def test_names_are_those_of_any_case() -> None:
    tally = tally_of(Dialogue("WWW.example.org").asked(), Dialogue("www.EXAMPLE.org").asked())
    assert tally.names.top(5, bytes.decode) == [("\x03www\x07example\x03org\x00", 2)]


def test_clients_are_who_asked_us_and_upstreams_whom_we_asked() -> None:
    tally = tally_of(*Dialogue(client="192.0.2.7").whole(0, 20))
    assert tally.clients.top(5, lambda packed: ".".join(map(str, packed))) == [("192.0.2.7", 2)]
    assert tally.upstreams.top(5, lambda end: f"{'.'.join(map(str, end[0]))} {end[1]}") == [(f"{UPSTREAM} 53", 2)]
    assert LISTENER not in str(tally.clients)


def test_first_and_last_are_by_time_whatever_the_order() -> None:
    query = Dialogue()
    tally = tally_of(query.asked(50), query.asked(10), query.asked(30))
    assert tally.first_ns is not None
    assert tally.last_ns is not None
    assert tally.last_ns - tally.first_ns == 40_000_000


def test_latencies_are_kept_by_type_and_errors_by_time() -> None:
    tally = tally_of(*Dialogue().whole(0, 20), *Dialogue().whole(0, 40, rcode="SERVFAIL"))
    assert tally.latencies_of(CR).at(0.5, 1) == [20_000_000, 40_000_000]
    assert tally.latencies_of(FR).at(0.5, 1) == [18_000_000, 38_000_000]
    assert tally.all_latencies().count == 4
    assert [counts[CR] for _, counts in tally.errors.spans()] == [1]


def test_a_frame_without_anything_is_counted_all_the_same() -> None:
    nothing = dict.fromkeys(
        ("socket_protocol", "query_address", "response_address", "query_time", "response_time", "query_port")
    )
    tally = tally_of(TapFrame(payload("CLIENT_QUERY", None, **nothing)), TapFrame(payload("CLIENT_QUERY", b"\1\2")))
    assert tally.frames == 2
    assert tally.by(QTYPE) == {}
    assert tally.names.counts() == []


def test_types_that_nobody_knows_share_their_latencies() -> None:
    known = payload("TOOL_RESPONSE")
    unknown = [TapFrame(known.replace(b"\x08\x0c", bytes((8, number)), 1)) for number in (100, 102)]
    tally = tally_of(*unknown)
    assert tally.by(TYPE) == {100: 1, 102: 1}
    assert list(tally.latencies) == [0]


def test_two_files_add_up_also_from_another_process() -> None:
    one, other = tally_of(*Dialogue().whole(0, 20)), tally_of(*Dialogue().whole(100, 40, rcode="SERVFAIL"))
    other.damaged = 3
    one.merge(pickle.loads(pickle.dumps(other)))
    both = tally_of(*Dialogue().whole(0, 20), *Dialogue().whole(100, 40, rcode="SERVFAIL"))
    assert one.damaged == 3
    assert (one.frames, one.octets, one.first_ns, one.last_ns) == (8, both.octets, both.first_ns, both.last_ns)
    assert [one.by(place) for place in range(4)] == [both.by(place) for place in range(4)]
    assert one.timeline.spans() == both.timeline.spans()
    assert one.all_latencies().counts() == both.all_latencies().counts()


def test_an_empty_one_adds_nothing() -> None:
    one = tally_of(Dialogue().asked())
    first_ns = one.first_ns
    one.merge(Tally())
    assert (one.frames, one.first_ns) == (1, first_ns)
    empty = Tally()
    empty.merge(one)
    assert empty.first_ns == first_ns
