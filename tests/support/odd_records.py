"""Record data of every type, right and wrong, and EDNS options of every code, from a seed."""

import random
import struct
from collections.abc import Callable

WORDS = [b"www", b"mail", b"Example", b"ORG", b"org", b"example", b"_tcp", b"*", b"a", b"xn--nxasmq6b"]
ODD_LABELS = [
    b"a.b",
    b"sp ace",
    b'q"uote',
    b"@",
    b"$x",
    b"(;)",
    b"\\",
    b"\x00\x7f\xff",
    b"it's",
    b"\xc3\xa9",
    b"x" * 63,
]
REGEXES = [
    b"!^.*$!sip:info@example.org!",
    b"/a(b)/\\1/i",
    b"!a!b",
    b"!!!",
    b"!(a!b!",
    b"!a{2,1}!b!",
    b"!x![[:alpha:]]!",
]
PATHS = [b"/dns-query{?dns}", b"/q{?dns,x:3}", b"dns", b"/{+dns*}", b"/\xff{dns}", b"/q"]

# A letter for each field: B H I Q numbers, a and z addresses, n a name, s a string, t strings, x octets, X at least
# one, l and L octets with their number before them, m and b type bitmaps, T a type, w a time of 6 octets
LAYOUTS = {
    "a": [1],
    "n": [2, 3, 4, 5, 7, 8, 9, 12, 23, 39],
    "nnIIIII": [6],
    "x": [10, 49, 61, 65533, 20000],
    "aBb": [11],
    "ss": [13, 20],
    "nn": [14, 17, 58],
    "Hn": [15, 18, 21, 36, 107],
    "t": [16, 56, 99, 258, 261, 262],
    "s": [100],
    "X": [22, 31, 32, 34, 67, 68],
    "TBBIIIHnX": [24, 46],
    "HBBX": [25, 48, 57, 60],
    "Hnn": [26],
    "sss": [27],
    "z": [28],
    "BBBBIII": [29],
    "nb": [30],
    "HHHn": [33],
    "HHBX": [37],
    "BBBX": [40, 52, 53],
    "BBX": [44],
    "BBBnX": [45],
    "nm": [47],
    "BBHllm": [50],
    "BBHl": [51],
    "Im": [62],
    "IHm": [62],
    "IBBX": [63],
    "THBHn": [66],
    "THBBn": [66],
    "I": [101, 102],
    "HQ": [104, 106],
    "Ha": [105],
    "w": [108],
    "Q": [109],
    "nIIHHLL": [249],
    "nwHLHHL": [250],
    "": [255],
    "HHx": [256],
    "Blx": [257],
    "IIBsx": [259],
    "BB": [260],
    "BBa": [260],
}
TYPES = sorted(
    {number for numbers in LAYOUTS.values() for number in numbers} | {38, 42, 43, 55, 59, 64, 65, 32768, 32769}
)
QUESTION_TYPES = [*TYPES, 0, 41, 103, 251, 252, 253, 254, 255, 65535, 1234]
OPTION_CODES = [*range(21), 26946, 65001]


class OddRecords:
    """Parts of messages, each call another; `at` is where in the message a name will stand, for compression."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.names: dict[bytes, int] = {}

    def label(self) -> bytes:
        chance = self.random.random()
        if chance < 0.85:
            return self.random.choice(WORDS)
        if chance < 0.95:
            return self.random.choice(ODD_LABELS)
        return self.octets(1, 12)

    def octets(self, least: int = 0, most: int = 40) -> bytes:
        if self.random.random() < 0.02:
            most *= 10
        octets = self.random.randbytes(self.random.randint(least, most))
        return octets if self.random.random() < 0.5 else bytes(octet & 0x5F | 0x20 for octet in octets)

    def name(self, at: int) -> bytes:
        """A name, often compressed, sometimes badly."""
        chance = self.random.random()
        if chance < 0.05:
            return b"\0"
        if chance < 0.06:
            return self.random.choice(
                [b"\xc0", b"\x40a\0", b"\xff\xff", b"\xc0\x00", b"\x05ab", bytes((0xC0, at & 0xFF))]
            )
        if chance < 0.06:
            return b"\x3f" + b"y" * 63 + (b"\x3e" + b"z" * 62) * self.random.randint(1, 3) + b"\0"
        labels = [self.label() for _ in range(self.random.randint(1, 4))]
        end = b"\0"
        if self.names and self.random.random() < 0.6:
            offset = self.random.choice(list(self.names.values()))
            labels = labels[: self.random.randint(0, 2)]
            end = struct.pack("!H", 0xC000 | offset)
        name = b"".join(bytes((len(label),)) + label for label in labels) + end
        if at < 0x3000:
            self.names[name] = at
        return name

    def string(self) -> bytes:
        octets = self.octets(0, 20)[:255]
        return bytes((len(octets),)) + octets

    def bits(self) -> bytes:
        return self.random.randbytes(self.random.randint(0, 8)) + b"\1"

    def bitmap(self) -> bytes:
        windows = sorted({self.random.choice([0, 0, 0, 1, 128, 255]) for _ in range(self.random.randint(0, 3))})
        blocks = [bytes((window, len(bits))) + bits for window in windows for bits in [self.bits()]]
        if self.random.random() < 0.03:
            self.random.shuffle(blocks)
            blocks.append(bytes((255, self.random.randint(0, 40))))
        return b"".join(blocks)

    def address6(self) -> bytes:
        """With runs of zeros in all places, v4-mapped, or none of these."""
        octets = self.random.randbytes(16)
        zeros = bytes(self.random.randint(4, 14))
        middle = octets[: self.random.randint(0, 4)] + zeros + octets
        mapped = b"\0" * 10 + b"\xff\xff" + octets[:4]
        return self.random.choice([octets, middle, middle, zeros + octets, mapped, bytes(15) + b"\1"])[:16]

    def data(self, type: int, at: int) -> bytes:
        """Of a type; `at` is where in the message it begins."""
        special = self._special(type, at)
        if special is not None:
            return special
        layouts = [layout for layout, numbers in LAYOUTS.items() if type in numbers]
        data = b""
        for letter in self.random.choice(layouts or ["x"]):
            data += self.field(letter, at + len(data))
        return data

    def field(self, letter: str, at: int) -> bytes:
        bits = self.random.randbytes(self.random.randint(0, 15))
        simple: dict[str, Callable[[], bytes]] = {
            "s": self.string,
            "t": lambda: b"".join(self.string() for _ in range(self.random.randint(1, 4))),
            "x": self.octets,
            "X": lambda: self.octets(1, 80),
            "a": lambda: self.random.randbytes(4),
            "z": self.address6,
            "m": self.bitmap,
            "w": lambda: self.random.choice([b"\0\0", b"\1\2"]) + self.random.randbytes(4),
            "T": lambda: struct.pack("!H", self.random.choice(QUESTION_TYPES)),
            "b": lambda: bytes((bits[0] & 0x7F,)) + bits + b"\1" if bits else b"",
            "n": lambda: self.name(at),
        }
        if letter in simple:
            return simple[letter]()
        if letter in "lL":
            octets = self.octets(0, 30)[:255]
            return len(octets).to_bytes(1 if letter == "l" else 2, "big") + octets
        size = {"B": 1, "H": 2, "I": 4, "Q": 8}[letter]
        return self.number(size)

    def number(self, size: int) -> bytes:
        if self.random.random() < 0.5:
            return self.random.randrange(20).to_bytes(size, "big")
        return self.random.randbytes(size)

    def _special(self, type: int, at: int) -> bytes | None:
        """Types whose data has rules that chance would hardly meet."""
        chance = self.random.random()
        if type == 29 and chance < 0.8:
            return self._location()
        if type == 35:
            return self.number(4) + self.string() + self.string() + self._regex() + self.name(at + 99)
        if type == 38:
            return self._a6(at)
        if type == 41:
            return self.options()
        if type == 42:
            return b"".join(self._prefix() for _ in range(self.random.randint(0, 3)))
        if type == 43 or type in {59, 32768, 32769}:
            size, kind = self.random.choice(
                [(20, 1), (32, 2), (48, 4), (32, 3), (7, 9), (19, 1), (99, 5), (20, 1), (32, 2)]
            )
            return self.random.randbytes(3) + bytes((kind,)) + self.random.randbytes(size)
        if type == 44 and chance < 0.5:
            size, kind = self.random.choice([(20, 1), (32, 2), (0, 3)])
            return bytes((1, kind)) + self.random.randbytes(size)
        return self._rarer(type, at, chance)

    def _rarer(self, type: int, at: int, chance: float) -> bytes | None:
        if type == 19:
            return b"\x06123456" if chance < 0.7 else self.string()
        if type == 34 and chance < 0.5:
            return b"\x01123456"
        if type == 45:
            return self._ipseckey(at)
        if type == 50 and chance < 0.7:
            return b"\1\1\0\x0a" + self.field("l", at) + b"\x14" + self.random.randbytes(20) + self.bitmap()
        if type == 55 and chance < 0.8:
            hit, key = self.octets(1, 16)[:255], self.octets(1, 40)
            start = bytes((len(hit), 2)) + struct.pack("!H", len(key)) + hit + key
            return start + b"".join(self.name(at + len(start)) for _ in range(self.random.randint(0, 1)))
        if type == 63 and chance < 0.6:
            return self.random.randbytes(4) + self.random.choice([b"\1\1" + bytes(48), b"\1\2" + bytes(64)])
        if type in {64, 65}:
            return self._service(at)
        if type == 57 and chance < 0.7:
            return b"\0\0" + self.number(2) + self.octets(1, 40)
        if type == 257 and chance < 0.9:
            tag = self.random.choice([b"\x05issue", b"\x05issue", b"\x09issuewild", b"\x05is-ue", b"\0"])
            return b"\0" + tag + self.octets()
        return None

    def _location(self) -> bytes:
        sizes = bytes(self.random.choice([0x12, 0x16, 0x13, 0x99, 0x10, 0x01, 0xA1]) for _ in range(3))
        latitude = (1 << 31) + self.random.randint(-324_000_000, 324_000_000)
        longitude = (1 << 31) + self.random.randint(-648_000_000, 648_000_000)
        altitude = self.random.choice([10_000_000, 0, 10_000_100, self.random.randrange(1 << 32), 9_999_999])
        return bytes((self.random.random() < 0.05,)) + sizes + struct.pack("!III", latitude, longitude, altitude)

    def _regex(self) -> bytes:
        regex = self.random.choice([*REGEXES, b""])
        return bytes((len(regex),)) + regex

    def _a6(self, at: int) -> bytes:
        bits = self.random.choice([0, 64, 128, self.random.randrange(140)])
        suffix = self.random.randbytes(max(0, 16 - bits // 8)) if bits < 128 else b""
        if suffix and self.random.random() < 0.9:
            suffix = bytes((suffix[0] & 0xFF >> bits % 8,)) + suffix[1:]
        return bytes((bits,)) + suffix + (self.name(at + 1 + len(suffix)) if bits else b"")

    def _prefix(self) -> bytes:
        family = self.random.choice([1, 1, 2, 2, 2, 3])
        address = self.random.randbytes(4) if family == 1 else self.address6()
        address = address[: self.random.randint(0, len(address))].rstrip(b"\0")
        bits = self.random.choice([len(address) * 8, 24, 32, 64, 129])
        return struct.pack("!HBB", family, bits, len(address) | self.random.choice([0, 0x80])) + address

    def _ipseckey(self, at: int) -> bytes:
        gateway = self.random.choice([0, 1, 2, 3, 3, 4])
        start = bytes((10, gateway, 2))
        gateways = [b"", self.random.randbytes(4), self.address6(), b"", b""]
        middle = self.name(at + 3) if gateway == 3 else gateways[gateway]
        return start + middle + self.octets()

    def _service(self, at: int) -> bytes:
        start = self.random.choice([b"\0\0", b"\0\1", b"\x12\x34"])
        data = start + self.name(at + 2)
        keys = sorted(self.random.sample([*range(1, 9), 667, 65535], self.random.randint(0, 4)))
        if self.random.random() < 0.05:
            self.random.shuffle(keys)
        if keys and self.random.random() < 0.3:
            data += struct.pack("!HHH", 0, 2, keys[0])
        return data + b"".join(self._parameter(key) for key in keys)

    def _parameter(self, key: int) -> bytes:
        right = {
            1: b"\x02h2\x05h3,\\a",
            2: b"",
            3: b"\x01\xbb",
            4: self.random.randbytes(8),
            6: self.address6(),
            7: self.random.choice(PATHS),
        }
        value = right.get(key, self.octets()) if self.random.random() < 0.95 else self.octets()
        return struct.pack("!HH", key, len(value)) + value

    def options(self) -> bytes:
        """An OPT's data."""
        codes = [self.random.choice(OPTION_CODES) for _ in range(self.random.choice([0, 0, 1, 1, 2, 4]))]
        return b"".join(self.option(code) for code in codes)

    def option(self, code: int) -> bytes:
        right = {
            1: self.random.randbytes(18),
            2: self.random.randbytes(self.random.choice([4, 8])),
            8: self._subnet(),
            9: self.random.choice([b"", self.random.randbytes(4), self.number(4)]),
            10: self.random.randbytes(self.random.choice([8, 16, 24, 40])),
            11: self.random.choice([b"", self.random.randbytes(2)]),
            14: self.random.randbytes(2 * self.random.randint(1, 3)),
            15: self.number(2)
            + self.random.choice([b"", b"why\tnot", "é ∑ \U0001f600".encode(), b"<&>", b"\xff", b"a\nb"]),
            16: self.random.randbytes(2),
            17: self.random.randbytes(2),
        }
        data = right.get(code, self.octets()) if self.random.random() < 0.95 else self.octets()
        return struct.pack("!HH", code, len(data)) + data

    def _subnet(self) -> bytes:
        family, bits = self.random.choice(
            [(1, 24), (1, 32), (1, 0), (2, 56), (2, 128), (0, 0), (1, 20), (2, 61), (3, 0), (1, 33)]
        )
        address = self.random.randbytes(4) if family == 1 else self.address6()
        size = (bits + 7) // 8
        cut = int.from_bytes(address, "big") >> max(0, len(address) * 8 - bits) << max(0, len(address) * 8 - bits)
        address = cut.to_bytes(len(address), "big")[:size]
        if self.random.random() < 0.05:
            address += b"\0"
        return struct.pack("!HBB", family, bits, self.random.choice([0, 0, 24, 33])) + address
