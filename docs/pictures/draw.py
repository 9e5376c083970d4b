"""Draws the pictures of the README again: `python docs/pictures/draw.py`, from half an hour of traffic made up here."""

from __future__ import annotations

import io
import math
import os
import random
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from dnsproxy.dnstap.schema import MessageType, SocketFamily, SocketProtocol
from dnsproxy.tap.compose import Fields, compose
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.svg import svg
from dnsproxy.tap.screen import screen
from dnsproxy.tap.tally import Tally
from dnsproxy.tap.window import Recent
from dnsproxy.wire import name_from_text

HERE: Final = Path(__file__).parent
START_S: Final = 1_795_258_800  # 2026-11-21 11:00 UTC
HALF_AN_HOUR_S: Final = 1800
PER_SECOND: Final = 6.0  # queries
TROUBLE_S: Final = range(1010, 1190)  # while one of the upstreams does not answer
MS: Final = 1_000_000
HIT_RATE: Final = 0.55
HOSTS: Final = (
    "www.com api.com cdn.net mail.org login.com time.net img.net updates.org telemetry.net static.com push.net"
)
NAMES: Final = [host.replace(".", ".example.") + "." for host in f"{HOSTS} docs.org imap.org chat.com wpad.org".split()]
TYPES: Final = ((1, 58), (28, 27), (65, 11), (12, 2), (16, 1), (33, 1))  # type and weight
CLIENTS: Final = [bytes((192, 0, 2, host)) for host in range(10, 42)]
UPSTREAMS: Final = [bytes((198, 51, 100, 1)), bytes((198, 51, 100, 2)), bytes.fromhex("20010db8" + "0" * 23 + "1")]
LISTENER: Final = bytes((192, 0, 2, 1))
TCP_SHARE, DOT_SHARE = 0.03, 0.12
NXDOMAIN, SERVFAIL = 3, 2


def traffic(seed: int = 1) -> Iterator[TapFrame]:
    """What a proxy would tell, in the order of the clients' queries."""
    chance = random.Random(seed)  # noqa: S311  a picture, no secret
    now_s = 0.0
    while now_s < HALF_AN_HOUR_S:
        now_s += chance.expovariate(PER_SECOND * (1 + 0.35 * math.sin(now_s / 290)))
        yield from _query(chance, START_S * 1000 * MS + int(now_s * 1000) * MS + chance.randrange(MS), int(now_s))


def _query(chance: random.Random, now_ns: int, second: int) -> Iterator[TapFrame]:
    rank = min(int(chance.paretovariate(0.9)) - 1, 400)
    name = NAMES[rank] if rank < len(NAMES) else f"host{rank}.example.net."
    qtype = chance.choices(*zip(*TYPES, strict=True))[0]
    rcode = NXDOMAIN if name.startswith("wpad") or chance.random() < 0.04 else 0
    message = struct.pack("!HHHHHH", chance.randrange(65536), 0x0100, 1, 0, 0, 0)
    message += name_from_text(name) + struct.pack("!HH", qtype, 1)
    client = Fields(MessageType.CLIENT_QUERY, b"proxy.example.net", b"dnsproxy 0.1.0")
    client.query_address = chance.choices(CLIENTS, [1 / (place + 1) for place in range(len(CLIENTS))])[0]
    client.query_port, client.response_address, client.response_port = chance.randrange(1024, 65536), LISTENER, 53
    roll = chance.random()
    client.socket_protocol = int(SocketProtocol.TCP if roll < TCP_SHARE else SocketProtocol.UDP)
    if roll > 1 - DOT_SHARE:
        client.socket_protocol, client.response_port = int(SocketProtocol.DOT), 853
    client.socket_family, client.query_time_ns, client.query_message = int(SocketFamily.INET), now_ns, message
    yield TapFrame(compose(client))
    end_ns = now_ns + int(chance.lognormvariate(-1.9, 0.35) * MS)
    if chance.random() > HIT_RATE:
        for frame in _attempts(chance, message, end_ns, second, rcode):
            yield frame
            end_ns = max(end_ns, frame.response_time_ns or frame.query_time_ns or 0)
            rcode = frame.rcode if frame.rcode is not None else SERVFAIL
        end_ns += int(chance.lognormvariate(-2.2, 0.3) * MS)
    yield TapFrame(compose(_answer(client, MessageType.CLIENT_RESPONSE, end_ns, rcode)))


def _attempts(chance: random.Random, message: bytes, now_ns: int, second: int, rcode: int) -> Iterator[TapFrame]:
    """Two at most: an upstream that says nothing for two seconds is given up."""
    for upstream in chance.sample(UPSTREAMS, k=2):
        query = Fields(MessageType.FORWARDER_QUERY, b"proxy.example.net", b"dnsproxy 0.1.0")
        query.socket_family = int(SocketFamily.INET if len(upstream) == 4 else SocketFamily.INET6)
        query.socket_protocol = int(SocketProtocol.UDP)
        query.query_address = LISTENER if len(upstream) == 4 else bytes.fromhex("20010db8" + "0" * 23 + "2")
        query.query_port, query.response_address, query.response_port = chance.randrange(1024, 65536), upstream, 53
        query.query_time_ns, query.query_message, query.query_zone = now_ns, message, b"\0"
        yield TapFrame(compose(query))
        if upstream != UPSTREAMS[0] or second not in TROUBLE_S:
            took_ms = chance.lognormvariate(*((2.2, 0.25) if chance.random() < 0.7 else (3.9, 0.7)))
            failed = chance.random() < (0.3 if second in TROUBLE_S else 0.005)
            answer = _answer(
                query, MessageType.FORWARDER_RESPONSE, now_ns + int(took_ms * MS), SERVFAIL if failed else rcode
            )
            yield TapFrame(compose(answer))
            return
        now_ns += 2000 * MS


def _answer(query: Fields, type: MessageType, time_ns: int, rcode: int) -> Fields:
    assert query.query_message is not None
    message = query.query_message
    response = Fields(**vars(query))
    response.type, response.query_message, response.response_time_ns = int(type), None, time_ns
    response.response_message = message[:2] + struct.pack("!H", 0x8180 | rcode) + message[4:]
    return response


def main(folder: Path = HERE) -> None:
    """Write the pictures there."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    tally = Tally()
    end_ns = (START_S + HALF_AN_HOUR_S) * 1000 * MS
    tally.add(frame for frame in traffic() if (frame.time_ns or 0) < end_ns)
    (folder / "tap-stats.svg").write_text(svg(Summary(tally, 8), "dns.fstrm"))
    _draw_top(folder)


def _draw_top(folder: Path) -> None:
    """A minute of the same traffic, as it would come."""
    frames = sorted(traffic(), key=lambda frame: frame.time_ns or 0)
    window = Recent(0.0)
    for second in range(TROUBLE_S.start - 10, TROUBLE_S.start + 30):
        start_ns = (START_S + second) * 1000 * MS
        window.add([frame for frame in frames if start_ns <= (frame.time_ns or 0) < start_ns + 1000 * MS])
        window.turn(second - TROUBLE_S.start + 10.5)
    console = Console(record=True, width=104, file=io.StringIO(), highlight=False)
    console.print(screen(window, "unix:/run/dnstap.sock", START_S + TROUBLE_S.start + 30))
    picture = console.export_svg(title="dnsproxy tap top", unique_id="top")
    (folder / "tap-top.svg").write_text(_with_fonts_at_hand(picture))


def _with_fonts_at_hand(picture: str) -> str:
    """Rich has one fetched."""
    without = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    return without.replace("Fira Code", "ui-monospace, Menlo, Consolas, Liberation Mono")


if __name__ == "__main__":
    main()
