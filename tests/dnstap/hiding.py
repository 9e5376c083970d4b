"""Messages that tell who asked, for tests of what hides it."""

import ipaddress
import struct

from hypothesis import strategies as st

from dnsproxy.dnstap.traces import AddressTrace

HEADER = b"\x12\x34\1\0"
QNAME = b"\3www\7example\3org\0"
QUESTION = QNAME + b"\0\1\0\1"
TO_QNAME = b"\xc0\x0c"
ECS, COOKIE, NSID, PADDING, EDE = 8, 10, 3, 12, 15


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def message(
    records: bytes = b"",
    counts: tuple[int, int, int] = (0, 0, 0),
    *,
    question: bytes = QUESTION,
    response: bool = False,
    id: bytes = b"\x12\x34",
) -> bytes:
    """A query, or a response, with so many records in its three sections."""
    flags = b"\x81\x80" if response else b"\1\0"
    return id + flags + struct.pack("!HHHH", 1 if question else 0, *counts) + question + records


def record(rtype: int, data: bytes, owner: bytes = TO_QNAME, ttl: int = 300) -> bytes:
    return owner + struct.pack("!HHIH", rtype, 1, ttl, len(data)) + data


def opt(*options: bytes, rcode: int = 0) -> bytes:
    data = b"".join(options)
    return b"\0" + struct.pack("!HHBBHH", 41, 1232, rcode, 0, 0, len(data)) + data


def option(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def ecs_data(address: str, source: int, scope: int = 0, family: int = 0) -> bytes:
    """What an ECS option holds; as many octets of the address as its prefix has."""
    octets = packed(address)
    header = struct.pack("!HBB", family or (1 if len(octets) == 4 else 2), source, scope)
    return header + octets[: (source + 7) // 8]


def ecs(address: str, source: int, scope: int = 0) -> bytes:
    return option(ECS, ecs_data(address, source, scope))


def with_options(*options: bytes, response: bool = False) -> bytes:
    """A message whose only record is an OPT."""
    return message(opt(*options), (0, 0, 1), response=response)


def forms(address: str) -> list[bytes]:
    """How an address may stand in a message, written down by other means than the code's."""
    ip = ipaddress.ip_address(address)
    labels = ip.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa").split(".")
    return [ip.packed, str(ip).encode(), b"".join(bytes((len(label),)) + label.encode() for label in labels)]


def trace(address: str, stand_in: str) -> AddressTrace:
    return AddressTrace(packed(address), packed(stand_in))


LABELS = st.binary(min_size=1, max_size=20).map(lambda label: bytes((len(label),)) + label)


@st.composite
def telling_messages(draw: st.DrawFn, address: str) -> bytes:
    """Messages that can be walked, with the address in names, in record data and in options, or in none of them."""
    telling = st.sampled_from(forms(address))
    noise = st.binary(max_size=20)
    data = st.builds(b"%b%b%b".__mod__, st.tuples(noise, st.one_of(telling, noise), noise))
    reverse = forms(address)[2]
    owners = st.builds(
        lambda labels, tail: b"".join(labels) + tail,
        st.lists(st.one_of(LABELS, st.just(reverse)), max_size=3),
        st.sampled_from([b"\0", TO_QNAME]),
    )
    exact = st.sampled_from([packed(address), packed(address) + packed(address)])
    records = st.builds(record, st.sampled_from([1, 28, 16, 5, 65, 250]), st.one_of(exact, data), owners)
    options = st.lists(st.builds(option, st.sampled_from([3, 10, 12, 15, 18, 65001]), data), max_size=3)
    opts = options.map(lambda each: opt(*each))
    answers = draw(st.lists(records, max_size=3))
    additional = draw(st.lists(st.one_of(records, opts), max_size=3))
    name = draw(st.lists(st.one_of(LABELS, st.just(reverse)), max_size=3))
    return message(
        b"".join(answers + additional),
        (len(answers), 0, len(additional)),
        question=b"".join(name) + b"\0\0\1\0\1",
        response=draw(st.booleans()),
    )
