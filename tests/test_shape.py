"""What a query asks, read once: every octet string has a shape, and dnspython reads the same in the good ones."""

import struct

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dnsproxy import shape as shape_module
from dnsproxy import wire
from dnsproxy.shape import DROP, MEMO_ENTRIES, MEMO_WIRE, SHAPES, Shape, shape_of
from tests.test_wire import NAMES

QNAME = b"\3WWW\7Example\3org\0"
QUESTION = QNAME + b"\0\1\0\1"
OPT = wire.make_opt()
FORMERR, NOTIMP, REFUSED, BADVERS = 1, 4, 5, 16
A_RECORD = b"\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\xc0\0\2\1"


def query(
    question: bytes = QUESTION, records: bytes = b"", *, flags: int = 0x0100, counts: tuple[int, ...] = (1, 0, 0, 0)
) -> bytes:
    return struct.pack("!HHHHHH", 0x1234, flags, *counts) + question + records


def opt(version: int = 0, options: bytes = b"", size: int = 1232, flags: int = 0) -> bytes:
    return b"\0" + struct.pack("!HHBBHH", 41, size, 0, version, flags, len(options)) + options


# what is read


@given(
    NAMES,
    st.integers(0, 65535).filter(lambda qtype: qtype not in (251, 252)),
    st.integers(0, 65535),
    st.integers(0, 1),
    st.integers(0, 255),
    st.one_of(st.none(), st.tuples(st.integers(0, 65535), st.booleans())),
)
def test_dnspython_reads_the_same(
    qname: bytes, qtype: int, qclass: int, rd: int, third: int, edns: tuple[int, bool] | None
) -> None:
    records = b"" if edns is None else opt(size=edns[0], flags=0x8000 if edns[1] else 0)
    counts = (1, 0, 0, 0 if edns is None else 1)
    octets = query(qname + struct.pack("!HH", qtype, qclass), records, flags=rd << 8 | third, counts=counts)
    shape, parsed = Shape(octets), dns.message.from_wire(octets)
    (question,) = parsed.question
    assert shape.fault == 0
    assert (shape.qname, shape.folded) == (qname, question.name.canonicalize().to_wire())
    assert (shape.qtype, shape.qclass) == (question.rdtype, question.rdclass)
    assert shape.rd == bool(parsed.flags & dns.flags.RD)
    assert shape.cd == bool(parsed.flags & dns.flags.CD)
    assert (shape.opt_offset >= 0) == (parsed.edns == 0)
    assert shape.do == bool(parsed.ednsflags & dns.flags.DO)
    assert shape.ad == (bool(parsed.flags & dns.flags.AD) or shape.do)
    assert shape.udp_size == (max(parsed.payload, 512) if edns else 512)
    assert octets[12 : shape.question_end] == shape.question


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0" * 12)
@example(b"\0" * 4 + b"\xff" * 8)
def test_any_octets_have_a_shape(octets: bytes) -> None:
    shape = Shape(octets)
    assert shape.fault in (DROP, 0, FORMERR, NOTIMP, REFUSED, BADVERS)
    assert (shape.fault == DROP) == (len(octets) < 12 or octets[2] >= 128)
    assert 512 <= shape.limit <= shape.udp_size <= 65535
    assert shape.question == octets[12 : shape.question_end]


@given(st.binary(min_size=8, max_size=60), st.sampled_from([(1, 0, 0, 0), (1, 0, 0, 1), (1, 0, 0, 2), (0, 0, 0, 1)]))
def test_octets_behind_a_likely_header_have_a_shape_that_can_be_answered(
    octets: bytes, counts: tuple[int, ...]
) -> None:
    asked = query(octets, counts=counts)
    shape = Shape(asked)
    answer = wire.own_answer(asked, shape.question, shape.fault, shape.opt_offset >= 0, shape.do)
    parsed = dns.message.from_wire(answer)
    assert (parsed.edns == 0) == (shape.opt_offset >= 0)
    assert bool(parsed.question) == bool(shape.question)


@pytest.mark.parametrize(("size", "shown", "limit"), [(0, 512, 512), (4096, 4096, 4096), (65535, 65535, 65507)])
def test_the_clients_size_has_a_floor_and_no_ceiling_but_udps_own(size: int, shown: int, limit: int) -> None:
    shape = Shape(query(records=opt(size=size), counts=(1, 0, 0, 1)))
    assert (shape.udp_size, shape.limit) == (shown, limit)


def test_client_subnet_is_noticed_among_other_options() -> None:
    cookie, subnet = b"\0\x0a\0\x08" + b"c" * 8, b"\0\x08\0\7\0\1\x18\0\xc0\0\2"
    assert Shape(query(records=opt(options=cookie + subnet), counts=(1, 0, 0, 1))).ecs
    assert not Shape(query(records=opt(options=cookie), counts=(1, 0, 0, 1))).ecs


def test_the_key_of_identical_questions_forgets_only_the_id_and_the_names_case() -> None:
    one = Shape(query(records=OPT, counts=(1, 0, 0, 1)))
    same = Shape(b"\xff\xff" + query(QUESTION.swapcase(), OPT, counts=(1, 0, 0, 1))[2:])
    assert one.key == same.key
    others = [
        query(),
        query(flags=0x0000, records=OPT, counts=(1, 0, 0, 1)),
        query(flags=0x0110, records=OPT, counts=(1, 0, 0, 1)),
        query(records=opt(flags=0x8000), counts=(1, 0, 0, 1)),
        query(QNAME + b"\0\x41\0\1", OPT, counts=(1, 0, 0, 1)),
        query(QNAME + b"\0\x61\0\1", OPT, counts=(1, 0, 0, 1)),
        query(QNAME + b"\0\1\0\3", OPT, counts=(1, 0, 0, 1)),
    ]
    assert len({one.key, *(Shape(octets).key for octets in others)}) == 1 + len(others)


# what is wrong with it


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (b"", DROP),
        (query()[:11], DROP),
        (query(flags=0x8100), DROP),
        (query(b"", counts=(0, 0, 0, 0)), FORMERR),
        (query(QUESTION * 2, counts=(2, 0, 0, 0)), FORMERR),
        (query(b"\xc0\x0c\0\1\0\1"), FORMERR),
        (query(b"\3www\xc0\x0c\0\1\0\1"), FORMERR),
        (query(QUESTION[:-1]), FORMERR),
        (query(QUESTION + b"!"), FORMERR),
        (query(records=opt()), FORMERR),
        (query(records=opt() * 2, counts=(1, 0, 0, 2)), FORMERR),
        (query(records=opt(1) * 2, counts=(1, 0, 0, 2)), FORMERR),
        (query(records=opt(options=b"\0\x0a\0"), counts=(1, 0, 0, 1)), FORMERR),
        (query(records=opt(1), counts=(1, 0, 0, 1)), BADVERS),
        (query(records=opt(255, options=b"!"), counts=(1, 0, 0, 1)), BADVERS),
        (query(QNAME + b"\0\xfc\0\1"), REFUSED),
        (query(QNAME + b"\0\xfb\0\1"), REFUSED),
        (query(QNAME + b"\0\xfb\0\1", b"\xc0\x0c\0\6\0\1" + b"\0" * 6, counts=(1, 0, 1, 0)), REFUSED),
        (query(QNAME + b"\0\xfc\0\1", opt(1), counts=(1, 0, 0, 1)), BADVERS),
        (query(records=A_RECORD, counts=(1, 1, 0, 0)), FORMERR),
        (query(records=A_RECORD, counts=(1, 0, 1, 0)), FORMERR),
        (query(records=A_RECORD + opt(1), counts=(1, 1, 0, 1)), BADVERS),
        (query(records=A_RECORD, counts=(1, 0, 0, 1)), 0),
        (query(b"", flags=0x1000, counts=(0, 0, 0, 0)), NOTIMP),
        (query(b"\xc0\x0c\0\1\0\1", flags=0x2800), NOTIMP),
        (query(QNAME + b"\0\xfc\0\1", flags=0x0800), NOTIMP),
    ],
)
def test_faults_are_found_in_the_order_of_the_checks(octets: bytes, fault: int) -> None:
    assert Shape(octets).fault == fault


@pytest.mark.parametrize(
    "octets",
    [
        query(b"", opt(), counts=(0, 0, 0, 1)),
        query(QUESTION * 2, opt(), counts=(2, 0, 0, 1)),
        query(b"\xc0\x0c\0\1\0\1", opt(), counts=(1, 0, 0, 1)),
        query(records=opt() * 2, counts=(1, 0, 0, 2)),
        query(records=opt(options=b"\0\x0a\0"), counts=(1, 0, 0, 1)),
        query(records=opt() + b"!", counts=(1, 0, 0, 1)),
        query(b"", opt(), flags=0x2800, counts=(0, 0, 0, 1)),
    ],
)
def test_an_opt_is_seen_whatever_else_is_wrong(octets: bytes) -> None:
    shape = Shape(octets)
    assert shape.fault in (FORMERR, NOTIMP)
    assert shape.opt_offset >= 0


def test_a_bad_question_leaves_nothing_half_read() -> None:
    shape = Shape(query(b"\3www\xc0\x0c\0\1\0\1"))
    assert (shape.qname, shape.folded, shape.question, shape.qtype, shape.question_end) == (b"", b"", b"", 0, 12)
    assert shape.rd


ECS, COOKIE = b"\0\x08", b"\0\x0a"


@pytest.mark.parametrize(
    ("octets", "odd"),
    [
        (query(), False),
        (query(flags=0x0130), False),
        (query(records=opt(flags=0xC000), counts=(1, 0, 0, 1)), False),
        (query(records=opt(options=ECS + b"\0\7\0\1\x18\0\1\2\3"), counts=(1, 0, 0, 1)), False),
        (query(records=opt(options=COOKIE + b"\0\x08" + bytes(8)), counts=(1, 0, 0, 1)), False),
        (query(records=opt(options=COOKIE + b"\0\x28" + bytes(40) + b"\xff\xff\0\1!"), counts=(1, 0, 0, 1)), False),
        (query(flags=0x0500), True),
        (query(flags=0x0300), True),
        (query(flags=0x0180), True),
        (query(flags=0x0140), True),
        (query(flags=0x0105), True),
        (query(records=A_RECORD, counts=(1, 0, 0, 1)), True),
        (query(records=opt() + A_RECORD, counts=(1, 0, 0, 2)), True),
        (query(records=opt(options=ECS + b"\0\1\0"), counts=(1, 0, 0, 1)), True),
        (query(records=opt(options=ECS + b"\0\6\0\1\x18\0\1\2"), counts=(1, 0, 0, 1)), True),
        (query(records=opt(options=COOKIE + b"\0\1!"), counts=(1, 0, 0, 1)), True),
    ],
)
def test_what_upstreams_may_leave_unanswered_is_odd_and_no_fault(octets: bytes, odd: bool) -> None:
    shape = Shape(octets)
    assert (shape.odd, shape.fault) == (odd, 0)


# the memo


def test_queries_that_differ_in_their_id_alone_share_a_shape() -> None:
    assert shape_of(query()) is shape_of(b"\0\0" + query()[2:])
    assert shape_of(query()) is not shape_of(query(QUESTION.lower()))


def test_the_memo_is_bounded_and_long_queries_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape_module, "MEMO_ENTRIES", 8)
    SHAPES.clear()
    for number in range(100):
        shape_of(query(flags=number))
        assert len(SHAPES) <= 8
    SHAPES.clear()
    long = query(records=opt(options=b"\0\x0c\1\xf4" + b"\0" * 500), counts=(1, 0, 0, 1))
    assert len(long) > MEMO_WIRE
    assert shape_of(long).fault == 0
    assert SHAPES == {}
    assert MEMO_ENTRIES * MEMO_WIRE < 8 << 20
