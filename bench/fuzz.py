"""Random and mutated datagrams and TCP streams against a running proxy: it must not die, nor be silent when asked well.

    python bench/fuzz.py [--seconds 30] [--seed N]

Prints what it did and a verdict; status 1 if a valid query got no answer or the proxy fell over.
"""
# ruff: noqa: S311  # chance, not secrets

import argparse
import random
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind what is installed: only tests.support is there

from tests.support import behaviours, wire
from tests.support.client import TcpClient, answers, udp_socket
from tests.support.proxy import Proxy, tap_balances
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

BATCH = 50
RSS_GROWTH_KIB = 16 * 1024

SEEDS = [
    wire.query("www.example.org"),
    wire.query("www.example.org", "TXT", do=True, options=[(8, b"\0\1\x18\0\xc0\0\2"), (10, b"12345678")]),
    wire.query("a.b.c.d.e.f.g.example.org", "TYPE65534", edns=True, size=512),
    wire.query("www.example.org", "AXFR"),
    wire.query("www.example.org", edns=1),
    wire.raw_query(b"\x3f" + b"x" * 63 + b"\0", counts=(1, 0, 0, 2)) + wire.opt_record() * 2,
]


def flip(chance: random.Random, octets: bytearray) -> None:
    for _ in range(chance.randint(1, 4)):
        octets[chance.randrange(len(octets))] = chance.randrange(256)


def cut(chance: random.Random, octets: bytearray) -> None:
    del octets[chance.randrange(len(octets)) :]


def insert(chance: random.Random, octets: bytearray) -> None:
    at = chance.randrange(len(octets))
    octets[at:at] = chance.randbytes(chance.randint(1, 30))


def repeat(chance: random.Random, octets: bytearray) -> None:
    octets += octets[12:] * chance.randint(1, 20)


def boundary(chance: random.Random, octets: bytearray) -> None:
    at = chance.randrange(len(octets))
    octets[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\xc0\x0c", b"\x80\0", b"\0\x01"))


MUTATIONS: list[Callable[[random.Random, bytearray], None]] = [flip, cut, insert, repeat, boundary]


def mutant(chance: random.Random) -> bytes:
    """A query with some damage, or noise."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(600))
    octets = bytearray(chance.choice(SEEDS))
    octets[:2] = chance.randbytes(2)
    for _ in range(chance.randint(1, 3)):
        if len(octets) > 2:
            chance.choice(MUTATIONS)(chance, octets)
    return bytes(octets[:65_000])


def expects_an_answer(octets: bytes) -> bool:
    """Whether DNS expects one: a header, and not that of a response."""
    return len(octets) >= 12 and not octets[2] & 0x80


def fuzz_datagrams(chance: random.Random, port: int, tally: Counter[str]) -> None:
    """Mutants among valid queries on one socket; whoever expects an answer gets one."""
    with udp_socket(port) as client:
        mutants = [mutant(chance) for _ in range(BATCH)]
        wanted = {wire.message_id(one) for one in mutants if expects_an_answer(one)}
        valid = [wire.query(f"v{number}.example.org", id=number) for number in range(BATCH)]
        for one, other in zip(mutants, valid, strict=True):
            client.send(one)
            client.send(other)
        expected = wanted | set(range(BATCH))
        found = set[int]()
        end = time.monotonic() + 3
        while not found >= expected and time.monotonic() < end:
            found |= {wire.message_id(answer) for answer in answers(client, 1, within_s=0.5)}
        tally["datagrams"] += 2 * BATCH
        report_silence(mutants, expected - found, tally)


def report_silence(mutants: list[bytes], silent: set[int], tally: Counter[str]) -> None:
    for one in mutants:
        if expects_an_answer(one) and wire.message_id(one) in silent:
            tally["silence"] += 1
            print(f"no answer to {one.hex()}")
    tally["silence"] += sum(id < BATCH for id in silent)


def fuzz_stream(chance: random.Random, port: int, tally: Counter[str]) -> None:
    """A stream of mutants with right and wrong lengths, abandoned in some rude way; a neighbour must not notice."""
    with TcpClient(port) as stranger, TcpClient(port) as neighbour:
        for _ in range(chance.randint(1, 8)):
            octets = mutant(chance)
            length = len(octets) if chance.random() < 0.8 else chance.randrange(65_536)
            try:
                stranger.socket.sendall(struct.pack("!H", length) + octets)
            except ConnectionError:
                break  # it was thrown out, which is fair
        neighbour.send(SEEDS[0])
        try:
            neighbour.receive()
        except (OSError, EOFError):
            tally["silence"] += 1
        if chance.random() < 0.5:
            stranger.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tally["streams"] += 1


def fuzz_upstream(chance: random.Random) -> behaviours.Behaviour:
    """Replies that are damaged too: the right ID nearly always, the rest as it comes."""

    def damaged(query: bytes) -> bytes:
        octets = bytearray(behaviours.answer_wire(query))
        if chance.random() < 0.5:
            return bytes(octets)
        chance.choice(MUTATIONS)(chance, octets)
        octets[:2] = query[:2]
        return bytes(octets)

    return behaviours.raw(damaged)


def fuzz(seconds: float, seed: int, folder: Path) -> bool:
    chance, tally = random.Random(seed), Counter[str]()
    with HostileUpstream(records=False, default=fuzz_upstream(chance)) as upstream:
        body = dnstap(to=f"file://{folder}/tap.fstrm", extra="{name} {rcode} {>rflags} {size} {rsize}")
        with Proxy(folder, body + forward(upstream, timeout="80ms", deadline="400ms")) as proxy:
            rounds(chance, proxy, tally, time.monotonic() + 2)
            before_kib = proxy.resident_kib()
            rounds(chance, proxy, tally, time.monotonic() + seconds)
            grown_kib = proxy.resident_kib() - before_kib
            balanced = all(tap_balances(tap) for tap in proxy.status()["taps"])
            alive = proxy.process.poll() is None
    print(f"seed {seed}: {dict(tally)}, memory {grown_kib:+} KiB, books {'balance' if balanced else 'DO NOT BALANCE'}")
    return alive and balanced and not tally["silence"] and grown_kib < RSS_GROWTH_KIB


def rounds(chance: random.Random, proxy: Proxy, tally: Counter[str], until: float) -> None:
    while time.monotonic() < until and proxy.process.poll() is None:
        fuzz_datagrams(chance, proxy.port, tally)
        fuzz_stream(chance, proxy.port, tally)


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged messages for a running proxy.")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        held = fuzz(options.seconds, options.seed, Path(folder))
    print("ok" if held else "FAIL")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
