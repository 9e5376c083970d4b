"""What a listener answers, drops and counts, over UDP and TCP."""

import random
import socket
import struct
from collections.abc import Callable, Iterator

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.support import behaviours, wire
from tests.support.client import answers, ask, exchange, exchange_tcp, is_silent, udp_socket
from tests.support.proxy import Proxy, Status
from tests.support.shared import shared_upstream
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

WWW = wire.name_to_wire("www.example.org")
EXCHANGES = [exchange, exchange_tcp]
Exchange = Callable[[bytes, int], bytes]
over_both = pytest.mark.parametrize("send", EXCHANGES, ids=["udp", "tcp"])


upstream = shared_upstream()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    body = forward(upstream) + forward(upstream, from_="by-udp.example.org", prefer_udp=True)
    with Proxy(tmp_path_factory.mktemp("proxy"), body) as running:
        yield running


def dropped(status: Status, reason: str) -> int:
    return sum(int(one["dropped"].get(reason, 0)) for one in status["listeners"])


@over_both
def test_a_query_is_answered_through_the_upstream(proxy: Proxy, send: Exchange) -> None:
    asked = wire.query("www.example.org", id=4711)
    answer = dns.message.from_wire(send(asked, proxy.port))
    assert wire.addresses(answer) == ["192.0.2.1"]
    assert (answer.id, answer.rcode(), answer.flags & dns.flags.QR) == (4711, 0, dns.flags.QR)
    assert answer.question == dns.message.from_wire(asked).question


def test_datagrams_that_are_no_queries_are_dropped_and_counted(proxy: Proxy) -> None:
    before = dropped(proxy.status(), "malformed")
    a_response = wire.raw_query(WWW, flags=wire.QR | wire.RD)
    for datagram in (b"", b"x", wire.query("www.example.org")[:11], a_response):
        assert is_silent(datagram, proxy.port)
    assert dropped(proxy.status(), "malformed") == before + 4


@over_both
@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented_even_without_a_question(proxy: Proxy, send: Exchange, opcode: int) -> None:
    answer = send(struct.pack("!HHHHHH", 99, opcode << 11, 0, 0, 0, 0), proxy.port)
    assert wire.rcode(answer) == wire.NOTIMP
    assert wire.message_id(answer) == 99
    assert wire.flags(answer) >> 11 & 15 == opcode
    assert answer[4:] == bytes(8)


def test_an_answer_of_our_own_carries_the_question_if_it_could_be_read(proxy: Proxy) -> None:
    asked = wire.raw_query(WWW, flags=5 << 11)
    answer = exchange(asked, proxy.port)
    assert wire.rcode(answer) == wire.NOTIMP
    assert answer[4:] == asked[4:]


@over_both
@pytest.mark.parametrize("questions", [0, 2, 65_535])
def test_anything_but_one_question_is_a_format_error(proxy: Proxy, send: Exchange, questions: int) -> None:
    asked = struct.pack("!HHHHHH", 99, wire.RD, questions, 0, 0, 0) + (WWW + b"\0\1\0\1") * min(questions, 2)
    answer = send(asked, proxy.port)
    assert (wire.rcode(answer), wire.message_id(answer)) == (wire.FORMERR, 99)


BAD_QUESTIONS = {
    "nothing": b"",
    "no end": b"\3www",
    "no type": WWW,
    "half a class": WWW + b"\0\1\0",
    "a label of 64": b"\x40" + b"x" * 64 + b"\0\0\1\0\1",
    "label type 0x80": b"\x80\0\0\1\0\1",
    "a pointer to itself": b"\xc0\x0c\0\1\0\1",
    "a pointer into the header": b"\3www\xc0\x04\0\1\0\1",
    "256 octets": (b"\x3f" + b"x" * 63) * 3 + b"\x3f" + b"x" * 63 + b"\0\0\1\0\1",
}


@over_both
@pytest.mark.parametrize("question", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS.keys())
def test_a_bad_question_is_a_format_error(proxy: Proxy, send: Exchange, question: bytes) -> None:
    answer = send(struct.pack("!HHHHHH", 99, wire.RD, 1, 0, 0, 0) + question, proxy.port)
    assert (wire.rcode(answer), wire.message_id(answer)) == (wire.FORMERR, 99)
    assert wire.flags(answer) & wire.QR


@over_both
def test_the_longest_name_is_served(proxy: Proxy, send: Exchange) -> None:
    longest = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"x" * 61 + b"\0"
    assert len(longest) == 255
    assert wire.rcode(send(wire.raw_query(longest), proxy.port)) == 0


@over_both
def test_a_label_may_hold_any_octet(proxy: Proxy, upstream: HostileUpstream, send: Exchange) -> None:
    asked = wire.raw_query(b"\x08A\0.\xff \\\nZ\x07oddness\0")
    answer = send(asked, proxy.port)
    assert wire.rcode(answer) == 0
    assert answer[12 : len(asked)] == asked[12:] == upstream.seen_for("oddness")[-1].wire[12:]


@over_both
def test_another_edns_version_is_badvers(proxy: Proxy, send: Exchange) -> None:
    answer = dns.message.from_wire(send(wire.query("www.example.org", edns=1, do=True), proxy.port))
    assert answer.rcode() == dns.rcode.BADVERS
    assert (answer.edns, answer.answer) == (0, [])
    assert answer.ednsflags & dns.flags.DO


def test_opcode_goes_before_question_and_question_before_opt(proxy: Proxy) -> None:
    version_1 = wire.opt_record(version=1)
    bad_all = struct.pack("!HHHHHH", 1, 2 << 11, 2, 0, 0, 1) + WWW + version_1
    assert wire.rcode(exchange(bad_all, proxy.port)) == wire.NOTIMP
    bad_question = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 1) + b"\xc0\x0c\0\1\0\1" + version_1
    assert wire.rcode(exchange(bad_question, proxy.port)) == wire.FORMERR


@over_both
def test_two_opts_are_a_format_error(proxy: Proxy, send: Exchange) -> None:
    asked = wire.raw_query(WWW, counts=(1, 0, 0, 2)) + wire.opt_record() * 2
    assert wire.rcode(send(asked, proxy.port)) == wire.FORMERR


@over_both
@pytest.mark.parametrize("qtype", ["AXFR", "IXFR"])
def test_transfers_are_refused_and_never_forwarded(
    proxy: Proxy, upstream: HostileUpstream, send: Exchange, qtype: str
) -> None:
    answer = dns.message.from_wire(send(wire.query("transfer.example.org", qtype, edns=True), proxy.port))
    assert answer.rcode() == dns.rcode.REFUSED
    assert answer.edns == 0
    assert not upstream.seen_for("transfer")


OWN_ANSWERS = {
    "NOTIMP": wire.raw_query(WWW, flags=2 << 11, counts=(1, 0, 0, 1)),
    "REFUSED": wire.raw_query(WWW, 252, counts=(1, 0, 0, 1)),
}


@pytest.mark.parametrize("asked", OWN_ANSWERS.values(), ids=OWN_ANSWERS.keys())
def test_our_own_answers_have_an_opt_exactly_if_the_query_had_one(proxy: Proxy, asked: bytes) -> None:
    opt = wire.opt_record(4096, flags=0xC000, options=wire.option(65_001, b"echo"))
    answer = dns.message.from_wire(exchange(asked + opt, proxy.port))
    assert (answer.edns, answer.payload) == (0, 1232)
    assert answer.ednsflags & 0xFFFF == 0x8000, "DO is copied, nothing else"
    assert not any(option.otype == 65_001 for option in answer.options)
    without = exchange(asked[:10] + b"\0\0" + asked[12:], proxy.port)
    assert dns.message.from_wire(without).edns == -1


ODDITIES = {
    "trailing octets": wire.raw_query(WWW) + b"trailing",
    "an announced record that is missing": wire.raw_query(WWW, counts=(1, 0, 0, 1)),
    "an answer in the query": wire.raw_query(WWW, counts=(1, 1, 0, 0)) + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\xc0\0\2\1",
    "half an OPT": wire.raw_query(WWW, counts=(1, 0, 0, 1)) + wire.opt_record()[:6],
    "an OPT longer than the message": wire.raw_query(WWW, counts=(1, 0, 0, 1)) + wire.opt_record()[:-1] + b"\x09",
    "an option longer than its OPT": wire.raw_query(WWW, counts=(1, 0, 0, 1))
    + wire.opt_record(options=b"\0\x0a\xff\xff"),
    "an OPT with a name": wire.raw_query(WWW, counts=(1, 0, 0, 1)) + b"\1x" + wire.opt_record(),
    "counts beyond reason": wire.raw_query(WWW, counts=(1, 65_535, 65_535, 65_535)),
    "MBZ set": wire.raw_query(WWW, flags=wire.RD | 0x40),
    "AA, TC, RA and an rcode set": wire.raw_query(WWW, flags=wire.AA | wire.TC | wire.RA | 5),
}


@over_both
@pytest.mark.parametrize("asked", ODDITIES.values(), ids=ODDITIES.keys())
def test_other_faults_are_never_met_with_silence(proxy: Proxy, send: Exchange, asked: bytes) -> None:
    answer = send(asked, proxy.port)
    assert wire.message_id(answer) == wire.message_id(asked)
    assert wire.rcode(answer) in (0, wire.FORMERR)


def test_rd_and_cd_are_the_clients_and_the_rest_is_the_upstreams(proxy: Proxy, upstream: HostileUpstream) -> None:
    def contrary(asked: bytes) -> bytes:
        flags = wire.QR | wire.AA | (~wire.flags(asked) & (wire.RD | wire.CD)) | wire.NXDOMAIN
        return asked[:2] + struct.pack("!H", flags) + asked[4:]

    upstream.on("contrary", behaviours.raw(contrary))
    for rd, cd in ((True, False), (False, True), (True, True)):
        answer = wire.flags(exchange(wire.query("contrary.example.org", rd=rd, cd=cd), proxy.port))
        assert (bool(answer & wire.RD), bool(answer & wire.CD)) == (rd, cd)
        assert answer & wire.AA
        assert not answer & wire.RA
        assert answer & 15 == wire.NXDOMAIN


def test_ad_is_cleared_unless_the_client_set_ad_or_do(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("secure", behaviours.raw(lambda asked: behaviours.answer_wire(asked, flags=0x81A0)))
    for edns, ad, do in ((False, False, False), (True, False, False), (False, True, False), (True, False, True)):
        answer = exchange(wire.query("secure.example.org", edns=edns, ad=ad, do=do), proxy.port)
        assert bool(wire.flags(answer) & wire.AD) == (ad or do)


@over_both
def test_the_client_gets_its_own_spelling_back(proxy: Proxy, upstream: HostileUpstream, send: Exchange) -> None:
    upstream.on("spelling", behaviours.lower_case)
    asked = wire.raw_query(wire.name_to_wire("SpElLiNg.eXample.ORG"))
    answer = send(asked, proxy.port)
    assert answer[12 : wire.question_end(asked)] == asked[12:]
    assert wire.addresses(dns.message.from_wire(answer)) == ["192.0.2.1"]


@over_both
@pytest.mark.parametrize(
    ("qtype", "qclass"), [("TYPE65534", "IN"), ("TYPE1000", "CLASS3000"), ("TXT", "CH"), ("ANY", "ANY")]
)
def test_any_type_and_class_is_passed_on(
    proxy: Proxy, upstream: HostileUpstream, send: Exchange, qtype: str, qclass: str
) -> None:
    asked = wire.query("any.example.org", qtype, qclass=qclass)
    assert send(asked, proxy.port)[4:] == asked[4:]
    assert upstream.seen_for("any")[-1].wire[2:] == asked[2:]


def test_unknown_options_pass_both_ways(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("options", behaviours.with_option(65_002, b"back"))
    asked = wire.query("options.example.org", options=[(65_001, b"forth")])
    answer = dns.message.from_wire(exchange(asked, proxy.port))
    assert upstream.seen_for("options")[-1].wire.endswith(wire.option(65_001, b"forth"))
    assert [option.to_wire() for option in answer.options] == [b"back"]


@pytest.mark.parametrize("size", [None, 0, 512, 600, 1232])
def test_answers_beyond_the_clients_size_are_truncated(
    proxy: Proxy, upstream: HostileUpstream, size: int | None
) -> None:
    upstream.on("cut", behaviours.large(3_000))
    asked = wire.query("cut.by-udp.example.org", "TXT", edns=size is not None, size=size or 0)
    answer = exchange(asked, proxy.port)
    parsed = dns.message.from_wire(answer)
    assert parsed.flags & dns.flags.TC
    assert len(answer) <= max(size or 0, 512)
    assert parsed.question == dns.message.from_wire(asked).question
    assert parsed.edns == (-1 if size is None else 0)


def test_answers_that_fit_are_whole(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("fits", behaviours.large(4_000))
    for size in (4_000, 4_096):
        answer = exchange(wire.query("fits.example.org", "TXT", edns=True, size=size), proxy.port)
        assert len(answer) == 4_000
        assert not wire.flags(answer) & wire.TC


@pytest.mark.parametrize("octets", [4_000, 65_000])
@pytest.mark.parametrize("zone", ["example.org", "by-udp.example.org"])
def test_large_messages_reach_tcp_clients_whole(
    proxy: Proxy, upstream: HostileUpstream, octets: int, zone: str
) -> None:
    upstream.on("whole", behaviours.large(octets))
    assert len(exchange_tcp(wire.query(f"whole.{zone}", "TXT", edns=True), proxy.port)) == octets


def test_large_datagrams_in_both_directions_leave_their_neighbours_alone(
    proxy: Proxy, upstream: HostileUpstream
) -> None:
    upstream.on("neighbours", behaviours.large(65_000))
    long_query = wire.query("long.example.org", id=1, options=[(65_003, bytes(20_000))])
    with udp_socket(proxy.port) as client:
        proxy.pause()
        for id in range(2, 20):
            client.send(wire.query(f"n{id}.example.org", id=id))
        client.send(long_query)
        client.send(wire.query("neighbours.by-udp.example.org", "TXT", id=100, edns=True, size=65_000))
        proxy.proceed()
        found = {wire.message_id(answer): answer for answer in answers(client, 20)}
    assert set(found) == {*range(1, 20), 100}
    assert len(found[100]) == 65_000
    assert all(wire.qname(found[id]) == f"n{id}.example.org" for id in range(2, 20))
    assert upstream.seen_for("long")[-1].wire[2:] == long_query[2:]


def test_a_crowd_is_answered_each_with_its_own(proxy: Proxy) -> None:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
    try:
        for number, client in enumerate(sockets):
            client.connect(("127.0.0.1", proxy.port))
            for id in range(10):
                client.send(wire.query(f"crowd-{number}-{id}.example.org", id=id))
        for number, client in enumerate(sockets):
            names = {wire.message_id(answer): wire.qname(answer) for answer in answers(client, 10)}
            assert names == {id: f"crowd-{number}-{id}.example.org" for id in range(10)}
    finally:
        for client in sockets:
            client.close()


def test_source_port_zero_in_the_middle_of_a_batch_harms_nobody(proxy: Proxy) -> None:
    before = dropped(proxy.status(), "port_zero")
    with udp_socket(proxy.port) as client:
        proxy.pause()
        for id in range(20):
            client.send(wire.query(f"batch{id}.example.org", id=id))
            if id == 10:
                send_from_port_zero(wire.query("zero.example.org"), proxy.port)
        proxy.proceed()
        assert {wire.message_id(answer) for answer in answers(client, 20)} == set(range(20))
    assert dropped(proxy.status(), "port_zero") == before + 1


def send_from_port_zero(datagram: bytes, port: int) -> None:
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("a raw socket needs root")
    with raw:
        raw.sendto(struct.pack("!HHHH", 0, port, 8 + len(datagram), 0) + datagram, ("127.0.0.1", 0))


def test_clients_that_have_gone_cost_the_others_nothing(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("gone", behaviours.delay(100))
    with udp_socket(proxy.port) as client:
        for id in range(30):
            with udp_socket(proxy.port) as leaving:
                leaving.send(wire.query(f"leaving{id}.gone.example.org", id=id))
            client.send(wire.query(f"staying{id}.gone.example.org", id=id))
        assert {wire.message_id(answer) for answer in answers(client, 30)} == set(range(30))


def test_noise_is_survived(proxy: Proxy) -> None:
    noise = random.Random(7)
    with udp_socket(proxy.port) as client:
        for _ in range(500):
            client.send(noise.randbytes(noise.randrange(0, 200)))
    assert ask(wire.query("after-noise.example.org"), proxy.port).rcode() == 0
