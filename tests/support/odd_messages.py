"""DNS messages of all kinds, right and wrong, and dnstap frames of them, from a seed."""

import random
import struct

from tests.support.odd_records import QUESTION_TYPES, TYPES, OddRecords

CLASSES = [1] * 16 + [3, 4, 254, 255, 0, 2, 4096]
RCODES = [0, 0, 0, 2, 3, *range(16)]
OPCODES = [0] * 30 + [5] * 6 + [*range(16)]
UPDATE = 5
SIG, NSEC3, TKEY, TSIG = 24, 50, 249, 250
ANY = 255
ORIGIN = b"\x07example\x03oRg\0"
HASH = b"\x200123456789abcdefghijklmnopqrstuv"
PLAIN_TYPES = [type for type in TYPES if type not in {249, 250, 255}]
COMMON_TYPES = [1, 5, 28, 2, 16, 15, 6, 46]


class OddMessages:
    """Messages and frames, each call another."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def message(self) -> bytes:
        """A DNS message, in a quarter of the cases cut, changed or with wrong counts."""
        parts = OddRecords(self.random)
        opcode = self.random.choice(OPCODES)
        flags = self.random.getrandbits(16) & 0x87F0 | opcode << 11 | self.random.choice(RCODES)
        qclass = self.random.choice(CLASSES)
        wire = bytes(12)
        questions = self.random.choice([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2])
        for _ in range(questions):
            wire += self._question(parts, qclass, len(wire))
        counts = [questions]
        for section in range(1, 4):
            count = self.random.choice([0, 0, 1, 1, 2, 3])
            for _ in range(count):
                wire += self._record(parts, section, qclass, opcode, len(wire))
            counts.append(count)
        for record in self._last(parts, len(wire)):
            wire += record
            counts[3] += 1
        wire = struct.pack("!HHHHHH", self.random.getrandbits(16), flags, *counts) + wire[12:]
        return self._spoilt(wire) if self.random.random() < 0.2 else wire

    def message_of(self, type: int) -> bytes:
        """A response with one record of a type where it belongs, its data in a third of the cases changed."""
        parts = OddRecords(self.random)
        parts.names[ORIGIN] = 12
        rclass = ANY if type == TSIG else self.random.choice([1] * 9 + [3, 4])
        owner = (HASH if type == NSEC3 else b"") + b"\xc0\x0c"
        data = self._changed(parts.data(type, 12 + len(ORIGIN) + 4 + len(owner) + 10))
        counts = [1, 0, 0, 0]
        counts[3 if type in {SIG, TKEY, TSIG} else 1] = 1
        question = ORIGIN + struct.pack("!HH", 1, 1 if rclass == ANY else rclass)
        record = owner + struct.pack("!HHIH", type, rclass, 300, len(data)) + data
        return struct.pack("!HHHHHH", 7, 0x8400, *counts) + question + record

    def message_with(self, code: int) -> bytes:
        """A response with an EDNS option of a code, its data in a third of the cases changed."""
        data = self._changed(OddRecords(self.random).option(code)[4:])
        ttl = self.random.choice([0, 0x8000, 0x4000, 0x1000C001])
        opt = struct.pack("!BHHIHHH", 0, 41, 1232, ttl, len(data) + 4, code, len(data)) + data
        return struct.pack("!HHHHHH", 7, 0x8400, 1, 0, 0, 1) + ORIGIN + b"\0\1\0\1" + opt

    def _changed(self, data: bytes) -> bytes:
        chance = self.random.random()
        if chance < 0.2 and data:
            at = self.random.randrange(len(data))
            return data[:at] + bytes((self.random.getrandbits(8),)) + data[at + 1 :]
        if chance < 0.28:
            return data[: self.random.randint(0, len(data))]
        return data + self.random.randbytes(3) if chance < 0.33 else data

    def _question(self, parts: OddRecords, qclass: int, at: int) -> bytes:
        name = parts.name(at)
        if at > 12 and self.random.random() < 0.8:
            name = b"\xc0\x0c"
        if self.random.random() < 0.01:
            qclass = 1
        return name + struct.pack("!HH", self.random.choice(QUESTION_TYPES), qclass)

    def _record(self, parts: OddRecords, section: int, qclass: int, opcode: int, at: int) -> bytes:
        type = self._type()
        rclass = qclass if self.random.random() < 0.985 else self.random.choice(CLASSES)
        if opcode == UPDATE and self.random.random() < 0.5:
            rclass = self.random.choice([254, 255])
        owner = parts.name(at)
        if type == NSEC3 and self.random.random() < 0.9:
            owner = HASH + owner[-2:]
        data = parts.data(type, at + len(owner) + 10)
        if opcode == UPDATE and rclass >= 254 and self.random.random() < 0.8:
            data = b""
        chance = self.random.random()
        if chance < 0.01:
            data = data[:-1]
        elif chance < 0.02:
            data += b"\0"
        elif chance < 0.03:
            data = b""
        ttl = self.random.choice([300, 300, 3600, 0, self.random.getrandbits(32)])
        return owner + struct.pack("!HHIH", type, rclass, ttl, len(data)) + data

    def _type(self) -> int:
        chance = self.random.random()
        if chance < 0.02:
            return self.random.choice(QUESTION_TYPES)
        return self.random.choice(PLAIN_TYPES if chance < 0.8 else COMMON_TYPES)

    def _last(self, parts: OddRecords, at: int) -> list[bytes]:
        """An OPT, a TSIG or a SIG(0), where they belong."""
        records = []
        if self.random.random() < 0.6:
            options = parts.options()
            ttl = self.random.choice([0, 0x8000, 0x8000, 0x01000000, self.random.getrandbits(32)])
            owner = b"\0" if self.random.random() < 0.98 else b"\1x\0"
            records.append(
                owner + struct.pack("!HHIH", 41, self.random.choice([1232, 4096, 0]), ttl, len(options)) + options
            )
        at += sum(map(len, records))
        if self.random.random() < 0.1:
            owner = parts.name(at)
            data = b"\x0bhmac-sha256\0" + self.random.randbytes(6) + b"\1\x2c\0\x20" + self.random.randbytes(36)
            data = data[:-2] + self.random.choice([b"\0\0", b"\0\x10", b"\0\x12"]) + b"\0\0"
            records.append(
                owner + struct.pack("!HHIH", 250, self.random.choice([255, 255, 255, 1]), 0, len(data)) + data
            )
        elif self.random.random() < 0.05:
            data = b"\0\0" + self.random.randbytes(16) + b"\0" + self.random.randbytes(50)
            records.append(b"\0" + struct.pack("!HHIH", 24, 255, 0, len(data)) + data)
        return records

    def _spoilt(self, wire: bytes) -> bytes:
        kind = self.random.randrange(5)
        at = self.random.randrange(len(wire))
        if kind == 0:
            return wire[:at]
        if kind == 1:
            return wire[:at] + bytes((self.random.getrandbits(8),)) + wire[at + 1 :]
        if kind == 2:
            return wire + self.random.randbytes(self.random.randint(1, 20))
        if kind == 3:
            where = self.random.choice([5, 7, 9, 11])
            return wire[:where] + bytes((self.random.choice([0, 1, 2, 3, 255]),)) + wire[where + 1 :]
        return wire[:at] + wire[at + 1 :]

    def frame(self, *, tame: bool = False) -> bytes:
        """A dnstap frame with such a message in it; `tame` keeps it to what the real programs live through."""
        type = self.random.choice([*range(1, 15)] * 9 + [0, 15, 99])
        body = _number(1, type) + self._socket(tame) + self._times(tame)
        for field in (10, 14):
            if self.random.random() < (0.9 if (field == 10) == (type % 2 == 1) else 0.1):
                body += _octets(field, self.message())
        if self.random.random() < 0.3:
            body += _octets(11, OddRecords(self.random).name(0))
        frame = b""
        for field in (1, 2):
            if self.random.random() < 0.7:
                frame += _octets(
                    field, self.random.choice([b"ns1.example", b"", 'é"<\\&>\u2028'.encode(), b"\xff\x00\b\n\x7f"])
                )
        return frame + _octets(14, body) + _number(15, 1)

    def _socket(self, tame: bool) -> bytes:
        body = b""
        if self.random.random() < 0.8:
            body += _number(2, self.random.choice([1, 1, 2, 3]))
        if self.random.random() < 0.8:
            body += _number(3, self.random.choice([1, 1, 2, 3, 4, 5, 7, 99]))
        for field in (4, 5):
            if self.random.random() < 0.8:
                address = self.random.choice([self.random.randbytes(4), OddRecords(self.random).address6()])
                if not tame and self.random.random() < 0.1:
                    address = self.random.randbytes(self.random.randrange(20))
                body += _octets(field, address)
        for field in (6, 7):
            if self.random.random() < 0.8:
                body += _number(field, self.random.choice([0, 53, 40000, 65535, 70000]))
        return body

    def _times(self, tame: bool) -> bytes:
        body = b""
        for seconds, nanoseconds in ((8, 9), (12, 13)):
            if self.random.random() < 0.85:
                wild = self.random.choice([0, 1, 1 << 31, 1 << 35, 253402300800, self.random.getrandbits(64)])
                body += _number(
                    seconds, 1_700_000_000 + self.random.getrandbits(24) if self.random.random() < 0.8 else wild
                )
            if self.random.random() < 0.85:
                usual = self.random.choice([0, 125_000_000, 1000, 999_999_999, self.random.randrange(10**9)])
                wild = 4_000_000_000 if not tame and self.random.random() < 0.1 else usual
                body += bytes((nanoseconds << 3 | 5,)) + struct.pack("<I", wild)
        return body


def response_frame(wire: bytes) -> bytes:
    """A frame with this message alone."""
    return _octets(14, _number(1, 6) + _octets(14, wire)) + _number(15, 1)


def _varint(number: int) -> bytes:
    octets = b""
    while number > 0x7F:
        octets += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return octets + bytes((number,))


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _octets(field: int, octets: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(octets)) + octets
