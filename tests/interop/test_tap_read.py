"""`dnsproxy tap read -q` against the real `dnstap -q`, octet for octet: frames of every kind, in several time zones."""

import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import require_program
from tests.support.wire import opt_record
from tests.tap.frames import CORPUS, WITHIN_S, environment_with, payload, tap, write_stream

pytestmark = pytest.mark.interop

# the program knows no STUB_*, and its protocols end with DOH
TYPES = [
    f"{party}_{direction}"
    for party in ("AUTH", "RESOLVER", "CLIENT", "FORWARDER", "TOOL", "UPDATE")
    for direction in ("QUERY", "RESPONSE")
]
QTYPES = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 41, 43, 46, 47, 48, 50, 52, 64, 65, 99, 250, 255, 257, 0, 65280, 65535]
ZONES = [None, "UTC", "Europe/Berlin", "America/St_Johns", ":Asia/Kolkata", "CET-1CEST", "No/Such", ""]
FRAMES = 1500
SECONDS = (1_700_000_000, 1_690_000_000, 0, 1, 2**31, 2**33, 2**40)


def shown_by_dnstap(path: Path, zone: str | None) -> bytes:
    command = [require_program("dnstap"), "-q", "-r", str(path)]
    return subprocess.run(command, capture_output=True, env=environment(zone), timeout=WITHIN_S, check=True).stdout


def environment(zone: str | None) -> dict[str, str]:
    variables = environment_with({})
    del variables["TZ"]
    return variables if zone is None else variables | {"TZ": zone}


def shown_by_us(path: Path, zone: str | None) -> bytes:
    if zone is None:  # the machine's own
        return tap("read", "-q", path, environment={"TZ": "/etc/localtime"}).stdout
    return tap("read", "-q", path, environment={"TZ": zone}).stdout


class Chance:
    """Frames and messages by chance, the same in each run."""

    def __init__(self) -> None:
        self.random = random.Random(53)

    def octets(self, most: int) -> bytes:
        return self.random.randbytes(self.random.randrange(most + 1))

    def label(self) -> bytes:
        plain = b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_"
        size = self.random.choice([1, 2, 3, 7, 63])
        odd = self.random.random() < 0.2
        return bytes(self.random.randrange(256) if odd else self.random.choice(plain) for _ in range(size))

    def name(self) -> bytes:
        labels = [self.label() for _ in range(self.random.choice([0, 1, 2, 2, 3, 3, 5]))]
        return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"

    def record(self) -> bytes:
        rtype = self.random.choice([1, 28, 5, 2, 6, 15, 16] * 20 + QTYPES)
        usual = {
            1: self.random.randbytes(4),
            28: self.random.randbytes(16),
            5: self.name(),
            2: b"\xc0\x0c",
            6: b"\xc0\x0c\0" + self.random.randbytes(20),
            15: b"\0\5\xc0\x0c",
            16: b"\5hello\0",
        }
        data = usual.get(rtype) if self.random.random() < 0.95 else None
        data = self.octets(30) if data is None else data
        owner = self.random.choice([b"\xc0\x0c"] * 30 + [b"\0", self.name(), b"\xc0\x10"])
        head = rtype.to_bytes(2, "big") + b"\0\1" + self.random.randbytes(4) + len(data).to_bytes(2, "big")
        return owner + head + data

    def message(self) -> bytes:
        questions = self.random.choice([1] * 20 + [0, 2])
        counts = [questions, *self.random.choices([0, 0, 1, 2], k=2), self.random.choice([0, 1])]
        octets = self.random.randbytes(2) + self.random.choice([b"\1\0", b"\x81\x80", self.random.randbytes(2)])
        octets += b"".join(count.to_bytes(2, "big") for count in counts)
        for _ in range(questions):
            octets += self.name() + self.random.choice(QTYPES).to_bytes(2, "big")
            octets += self.random.choice([1, 1, 1, 3, 254, 255, 7]).to_bytes(2, "big")
        octets += b"".join(self.record() for _ in range(sum(counts[1:3])))
        octets += opt_record(options=self.random.choice([b""] * 5 + [b"\0\3\0\1a", self.octets(9)])) * counts[3]
        if self.random.random() < 0.05:
            return octets[: self.random.randrange(len(octets))]
        return octets + (b"more" if self.random.random() < 0.05 else b"")

    def address(self) -> bytes:
        return self.random.choice(
            [
                self.random.randbytes(4),
                self.random.randbytes(16),
                bytes(10) + b"\xff\xff" + self.random.randbytes(4),
                bytes(12) + self.random.randbytes(4),
                b"\x20\1\x0d\xb8" + bytes(10) + self.random.randbytes(2),
                self.octets(20),
            ]
        )

    def time(self) -> tuple[int, int]:
        second = self.random.choice(SECONDS) + self.random.randrange(10**7)
        return second, self.random.choice([0, 999, 999_999_999, self.random.randrange(10**9)])

    def frame(self) -> bytes:
        fields: dict[str, Any] = {
            "identity": b"ns1",
            "socket_protocol": self.random.choice([None, 1, 1, 2, 3, 4, 7]),
            "query_address": self.random.choice([None, self.address()]),
            "response_address": self.random.choice([None, self.address()]),
            "query_time": self.random.choice([None, self.time(), self.time()]),
            "response_time": self.random.choice([None, self.time(), self.time()]),
            "query_message": self.random.choice([None, *[self.message() for _ in range(9)]]),
            "response_message": self.random.choice([None, *[self.message() for _ in range(9)]]),
            "extra": self.random.choice([None, b"x" * 200]),
            "query_zone": self.random.choice([None, b"\3com\0"]),
        }
        return payload(self.random.choice(TYPES), None, **fields)


@pytest.fixture(scope="module")
def by_chance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of frames of every kind."""
    chance = Chance()
    return write_stream(tmp_path_factory.mktemp("frames") / "f", [chance.frame() for _ in range(FRAMES)])


@pytest.mark.parametrize("zone", ZONES)
def test_quiet_lines_are_those_of_dnstap(by_chance: Path, zone: str | None) -> None:
    theirs, ours = (shown(by_chance, zone).splitlines() for shown in (shown_by_dnstap, shown_by_us))
    assert len(theirs) == FRAMES
    assert [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]] == []
    unreadable = sum(line.endswith(b"X ") for line in theirs)
    assert FRAMES // 10 < unreadable < FRAMES // 2, "some of the messages are wrong, and most are right"


@pytest.mark.parametrize("name", ["main", "nostop", "edge-doq", "edge-policy"])
def test_recorded_frames_are_shown_as_dnstap_shows_them(name: str) -> None:
    path = CORPUS / f"{name}.fstrm"
    assert shown_by_us(path, "Europe/Berlin") == shown_by_dnstap(path, "Europe/Berlin")


def test_what_we_write_dnstap_reads(by_chance: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fstrm"
    assert tap("read", by_chance, "-w", out, "--types", "client").returncode == 0
    lines = shown_by_dnstap(out, "UTC")
    assert lines == b"".join(
        line for line in shown_by_dnstap(by_chance, "UTC").splitlines(keepends=True) if b" C" in line[15:17]
    )


def test_what_dnstap_writes_we_read(by_chance: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fstrm"
    command = [require_program("dnstap"), "-r", str(by_chance), "-w", str(out)]
    subprocess.run(command, capture_output=True, timeout=WITHIN_S, check=True)
    done = tap("read", "-q", out)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == shown_by_us(by_chance, "UTC")
