"""Queries, responses and addresses as the rest of the proxy and its plugins see them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dnsproxy import wire
from dnsproxy.address import Address
from dnsproxy.shape import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    import dns.message


SOCKET_PROTOCOLS = {"UDP": 1, "TCP": 2, "DOT": 3, "DOH": 4, "DNSCryptUDP": 5, "DNSCryptTCP": 6, "DOQ": 7}  # dnstap's


class Endpoint:
    """Where queries arrive: one of our addresses, with the protocol spoken there."""

    __slots__ = ("address", "control", "http_protocol", "protocol", "routes", "socket_protocol", "stream")

    def __init__(self, protocol: str, address: Address, http_protocol: int | None = None, control: bytes = b"") -> None:
        self.protocol = protocol
        self.socket_protocol = SOCKET_PROTOCOLS[protocol]
        self.stream = protocol != "UDP"
        self.address = address
        self.http_protocol = http_protocol
        self.control = control  # ancillary data that makes the kernel answer from this address
        self.routes: dict[bytes, Any] = {}  # dnstap's cache, by client sockaddr

    def __repr__(self) -> str:
        return f"<Endpoint {self.protocol} {self.address}>"


class _Ids:
    """Text of query ids: 16 hex digits, a random start for each process, counted up."""

    TAIL = 4096  # ids that share a prefix: formatting the tail by table is 0.06 µs against 0.2

    def __init__(self) -> None:
        self.tails = [f"{number:03x}" for number in range(self.TAIL)]
        self.block = int.from_bytes(os.urandom(8), "big") >> 12
        self.prefix = ""
        self.left: list[str] = []

    def refill(self) -> str:
        self.block = (self.block + 1) & ((1 << 52) - 1)
        prefix = f"{self.block:013x}"
        self.left = [prefix + tail for tail in self.tails]
        self.left.reverse()
        return self.left.pop()


_ids = _Ids()


class Query:
    """What a client sent. It never changes; `outgoing` makes an edited copy.

    `wire` is exact, `client_sockaddr` the kernel's 28 octets, `received_ns` the wall clock. `metadata` maps
    `plugin/label` to any value and is where plugins leave what templates and other plugins may want.
    """

    __slots__ = (
        "_parsed",
        "client_sockaddr",
        "endpoint",
        "flight",
        "metadata",
        "parent",
        "partition",
        "received_ns",
        "selection",
        "shape",
        "wire",
    )

    def __init__(
        self, octets: bytes, shape: Shape, client_sockaddr: bytes, endpoint: Endpoint, received_ns: int
    ) -> None:
        self.wire = octets
        self.shape = shape
        self.client_sockaddr = client_sockaddr
        self.endpoint = endpoint
        self.received_ns = received_ns
        self.partition = b""
        left = _ids.left
        self.metadata: dict[str, object] = {
            "query/id": left.pop() if left else _ids.refill(),
            "query/protocol": endpoint.protocol,
        }
        self.parent: Query | None = None  # the client's own query, of which this is an edited copy
        self.flight: Any = None
        self.selection: Any = None  # which taps see its messages, where some choose: dnstap's own
        self._parsed: dns.message.Message | None = None

    @property
    def id(self) -> int:
        """The client's message ID."""
        return int.from_bytes(self.wire[:2], "big")

    @property
    def qname(self) -> bytes:
        """The name in wire form, case as sent."""
        return self.shape.qname

    @property
    def folded(self) -> bytes:
        """The name in wire form, lower-cased: what names are compared by."""
        return self.shape.folded

    @property
    def qtype(self) -> int:
        """Type asked for."""
        return self.shape.qtype

    @property
    def qclass(self) -> int:
        """Class asked for."""
        return self.shape.qclass

    @property
    def name(self) -> str:
        """The name in presentation form (RFC 1035), lower case, absolute."""
        shape = self.shape
        if shape.text is None:
            shape.text = wire.name_to_text(shape.folded) if shape.folded else "."
        return shape.text

    @property
    def opcode(self) -> int:
        """OPCODE of the header."""
        return self.shape.opcode

    @property
    def rd(self) -> bool:
        """Recursion desired."""
        return self.shape.rd

    @property
    def do(self) -> bool:
        """DNSSEC OK, of the OPT."""
        return self.shape.do

    @property
    def udp_size(self) -> int:
        """Octets of answer that the client takes over UDP: at least 512."""
        return self.shape.udp_size

    @property
    def has_opt(self) -> bool:
        """Whether the client speaks EDNS."""
        return self.shape.opt_offset >= 0

    @property
    def protocol(self) -> str:
        """UDP, TCP, DOT, …"""
        return self.endpoint.protocol

    @property
    def client(self) -> Address:
        """Who asks."""
        return Address(self.client_sockaddr)

    @property
    def local(self) -> Address:
        """Which of our addresses was asked."""
        return self.endpoint.address

    @property
    def message(self) -> dns.message.Message:
        """The query parsed by dnspython, once; raises dns.exception.DNSException where that cannot."""
        if self._parsed is None:
            import dns.message

            self._parsed = dns.message.from_wire(self.wire)
        return self._parsed

    def outgoing(self, octets: bytes | None = None, shape: Shape | None = None) -> Query:
        """A copy with other octets, if any, for what follows in the chain; client, metadata and flight are shared.

        `shape` is theirs where it is known. ValueError when the octets are no query that an upstream can be asked.
        """
        if octets is None:
            octets, shape = self.wire, self.shape
        elif shape is None:
            shape = shape_of(octets)
        if shape.fault or len(octets) > wire.MAX_MESSAGE:
            raise ValueError(f"not a query that can go out: {octets[:64]!r}")
        copy = Query(octets, shape, self.client_sockaddr, self.endpoint, self.received_ns)
        copy.metadata = self.metadata
        copy.partition = self.partition
        copy.parent = self.parent or self
        return copy

    def respond(self, rcode: int = 0, ede_code: int | None = None, ede_text: str = "", aa: bool = False) -> Response:
        """An answer of our own without records, with the client's question and an OPT exactly if the query had one."""
        shape = self.shape
        options = b"" if ede_code is None else wire.ede_option(ede_code, ede_text)
        return Response(wire.own_answer(self.wire, shape.question, rcode, shape.opt_offset >= 0, shape.do, options, aa))

    async def run(self, async_fn: Callable[..., Awaitable[Any]], *args: object) -> Any:
        """Run `async_fn(*args)` in a real trio task, cancelled with this query, and return what it returns."""
        return await (self.parent or self).flight.run(async_fn, args)

    def __repr__(self) -> str:
        return f"<Query {self.name} type {self.qtype} from {self.client} by {self.protocol}>"


class Policy:
    """Why an answer is not what the upstream would have said: dnstap's `policy` field."""

    __slots__ = ("action", "match", "rule", "type", "value")

    def __init__(
        self,
        type: str | None = None,
        rule: bytes | None = None,
        action: str | None = None,
        match: str | None = None,
        value: bytes | None = None,
    ) -> None:
        self.type = type
        self.rule = rule
        self.action = action
        self.match = match
        self.value = value

    @property
    def rule_text(self) -> str | None:
        """The rule, as `{/policy/rule}` shows it."""
        return None if self.rule is None else self.rule.decode("utf-8", "backslashreplace")


class Response:
    """An answer: `wire` is shared and never changed in place; awaiting a response gives it back at once."""

    __slots__ = ("_parsed", "policy", "wire")

    def __init__(self, octets: bytes, policy: Policy | None = None) -> None:
        self.wire = octets
        self.policy = policy
        self._parsed: dns.message.Message | None = None

    @classmethod
    def from_message(cls, message: dns.message.Message, policy: Policy | None = None) -> Response:
        """From a dnspython message, whole: the server cuts it to what the client takes."""
        return cls(message.to_wire(max_size=wire.MAX_MESSAGE), policy)

    @property
    def rcode(self) -> int:
        """RCODE with EDNS's extended bits."""
        return wire.rcode_of(self.wire)

    @property
    def message(self) -> dns.message.Message:
        """The response parsed by dnspython, once."""
        if self._parsed is None:
            import dns.message

            self._parsed = dns.message.from_wire(self.wire, ignore_trailing=True)
        return self._parsed

    def __await__(self) -> Generator[Any, Any, Response]:
        return self
        yield  # type: ignore[unreachable]  # makes this a generator that returns at once

    def __repr__(self) -> str:
        return f"<Response rcode {self.rcode}, {len(self.wire)} octets>"


def conform(query: Query, octets: bytes) -> bytes:
    """The response `octets` as this client must get it: its ID, RD, CD and question case; AD only if it may have it.

    RFC 1035 section 4.1.1, RFC 6840 section 5.8.
    """
    shape = query.shape
    if octets[12 : shape.question_end] != shape.question:
        octets = _with_question(octets, shape)
    if (octets[2] << 8 | octets[3]) & shape.checked == shape.flags:
        return query.wire[:2] + octets[2:]
    first = octets[2] & 0xFE | shape.flags >> 8
    second = octets[3] & (0xEF if shape.ad else 0xCF) | shape.flags & 0x10
    return query.wire[:2] + bytes((first, second)) + octets[4:]


def _with_question(octets: bytes, shape: Shape) -> bytes:
    """The client's own octets in place of no question, or one that differs from them only in case.

    ValueError when it is another question: nobody waits for that.
    """
    end = shape.question_end
    if len(octets) < wire.QUESTION_START:
        raise IndexError("a response shorter than its header")
    if octets[4:10] == b"\0\0\0\0\0\0":  # as some servers refuse
        return octets[:4] + (b"\0\1" if shape.question else b"\0\0") + octets[6:12] + shape.question + octets[12:]
    same = octets[12 : end - 4].lower() == shape.folded and octets[end - 4 : end] == shape.question[-4:]
    if not same or octets[4:6] != b"\0\1":
        raise ValueError(f"a response to another question: {octets[4:80]!r}")
    return octets[:12] + shape.question + octets[end:]
