"""What a query asks, read once for all queries that differ only in their message ID."""

from __future__ import annotations

import struct

from dnsproxy import errors, wire

MEMO_ENTRIES = 8192  # distinct queries remembered; about 8 MiB when every one is as long as it may be
MEMO_WIRE = 512  # octets; longer queries are parsed each time
AXFR, IXFR = 252, 251
MAX_DATAGRAM = 65507  # octets of UDP payload that IPv4 carries
CHECKED, CHECKED_AD = 0x8110, 0x0020  # QR, RD, CD; AD: the bits of an answer's header that depend on the query
ODD_FIRST, ODD_SECOND = 0x06, 0xCF  # AA, TC; RA, a reserved bit, RCODE: what no query should have in its header
DROP = -1  # Shape.fault: no answer at all


class Shape:
    """Everything that two queries share when they differ only in the message ID.

    `fault` is 0, an RCODE to answer with, or DROP. With a fault the fields of what could not be read are empty.
    `odd` queries can be asked, and even good upstreams may leave them unanswered.
    """

    __slots__ = (
        "ad",
        "cd",
        "checked",
        "do",
        "ecs",
        "fault",
        "flags",
        "folded",
        "key",
        "limit",
        "odd",
        "opcode",
        "opt_offset",
        "qclass",
        "qname",
        "qtype",
        "question",
        "question_end",
        "rd",
        "text",
        "udp_size",
    )

    def __init__(self, octets: bytes) -> None:
        self.fault = 0
        self.qname = self.folded = self.question = self.key = b""
        self.qtype = self.qclass = 0
        self.question_end = wire.QUESTION_START
        self.opt_offset = -1
        self.udp_size = self.limit = wire.MIN_UDP_SIZE
        self.do = self.ad = self.cd = self.rd = self.ecs = self.odd = False
        self.opcode = self.flags = 0  # flags: what must stand where `checked` has ones in octets 2 and 3 of an answer
        self.checked = CHECKED | CHECKED_AD
        self.text: str | None = None
        if len(octets) < wire.QUESTION_START or octets[2] & wire.QR:
            self.fault = DROP
            return
        self._read_header(octets)
        self._read_question(octets)
        if self.ad:
            self.checked = CHECKED
        if self.opcode:
            self.fault = errors.NOTIMP

    def _read_header(self, octets: bytes) -> None:
        self.opcode = octets[2] >> 3 & 15
        self.rd = bool(octets[2] & wire.RD)
        self.ad = bool(octets[3] & wire.AD)
        self.cd = bool(octets[3] & wire.CD)
        self.flags = (wire.QR | octets[2] & wire.RD) << 8 | octets[3] & wire.CD
        self.odd = bool(octets[2] & ODD_FIRST or octets[3] & ODD_SECOND)

    def _read_question(self, octets: bytes) -> None:
        try:
            if octets[4:6] != b"\0\1":
                raise wire.WireError("QDCOUNT is not 1")
            end = wire.question_end(octets)
        except wire.WireError:
            self.fault = errors.FORMERR
            self._read_opt_without_question(octets)
            return
        self.question = octets[wire.QUESTION_START : end]
        self.question_end = end
        self.qname = octets[wire.QUESTION_START : end - 4]
        self.folded = self.qname.lower()  # length octets are at most 63, below the letters
        self.qtype = int.from_bytes(octets[end - 4 : end - 2], "big")
        self.qclass = int.from_bytes(octets[end - 2 : end], "big")
        self.key = octets[2:12] + self.folded + octets[end - 4 :]
        self._read_opt(octets, end)

    def _read_opt_without_question(self, octets: bytes) -> None:
        """What can be found of an OPT behind a bad question decides whether the answer carries one."""
        fixed = wire.opt_of(octets)
        try:
            self._take_opt(octets, [fixed] if fixed >= 0 else [])
        except wire.WireError:
            return

    def _read_opt(self, octets: bytes, end: int) -> None:
        if octets[6:12] == b"\0\0\0\0\0\0" and end == len(octets):
            self._check_type()
            return
        try:
            opts = wire.find_opts(octets, end)
            self._take_opt(octets, opts)
            self.odd = self.odd or int.from_bytes(octets[10:12], "big") != len(opts)
        except wire.WireError:
            self.fault = errors.FORMERR
            if self.opt_offset < 0:
                self.opt_offset = wire.opt_of(octets)
        if not self.fault:
            self._check_type()
        if octets[6:10] != b"\0\0\0\0" and not self.fault:  # answers in a query: upstreams may not even reply
            self.fault = errors.FORMERR

    def _take_opt(self, octets: bytes, opts: list[int]) -> None:
        if not opts:
            return
        fixed = self.opt_offset = opts[0]
        size, _, version, flags = struct.unpack_from("!HBBH", octets, fixed + 2)
        self.udp_size = max(size, wire.MIN_UDP_SIZE)
        self.limit = min(self.udp_size, MAX_DATAGRAM)
        self.do = bool(flags & wire.DO_BIT)
        self.ad = self.ad or self.do
        if len(opts) > 1:
            raise wire.WireError("two OPT records")
        if version:
            self.fault = self.fault or errors.BADVERS
            return
        options = wire.opt_options(octets, fixed)
        self.ecs = any(code == wire.ECS_OPTION for code, _ in options)
        self.odd = self.odd or any(wire.is_malformed_option(code, data) for code, data in options)

    def _check_type(self) -> None:
        if self.qtype in (AXFR, IXFR):
            self.fault = errors.REFUSED


SHAPES: dict[bytes, Shape] = {}  # by what stands behind the ID; listeners look here before they call `shape_of`


def shape_of(octets: bytes) -> Shape:
    """The shape of a query; the same object for the same octets behind the ID, most of the time."""
    behind_id = octets[2:]
    shape = SHAPES.get(behind_id)
    if shape is None:
        shape = Shape(octets)
        if len(octets) <= MEMO_WIRE:
            if len(SHAPES) >= MEMO_ENTRIES:
                SHAPES.clear()
            SHAPES[behind_id] = shape
    return shape
