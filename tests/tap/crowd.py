"""Fifty producers at once, half of them misbehaving in every way there is."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dnsproxy.dnstap.framestreams import ControlType, control_frame, data_frame
from tests.tap.frames import START, STOP, payload
from tests.tap.running import READY, WITHIN_S, Sender, connected

QUERY = payload()
MISBEHAVIOURS: tuple[tuple[str, list[bytes], bool], ...] = (  # kind of damage, what is sent, whether it stays
    ("handshake", [], True),
    ("handshake", [READY[:17]], True),
    ("start", [b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"], False),
    ("start", [data_frame(QUERY)], False),
    ("content_type", [control_frame(ControlType.READY, b"protobuf:other")], False),
    ("oversize", [START, data_frame(bytes(1 << 20) + b"x"), data_frame(QUERY), STOP], False),
    ("oversize", [START, b"\xff\xff\xff\xff", os.urandom(5000)], False),
    ("control", [START, struct.pack("!II", 0, 600), bytes(600)], False),
    ("truncated", [START, data_frame(QUERY), data_frame(QUERY)[:50]], False),
    ("undecodable", [START, data_frame(b"nonsense"), data_frame(QUERY), STOP], False),
)
CLIENTS, MESSAGES = 50, 40
HANDSHAKE = ["--handshake-timeout", "2s"]  # for those who stay and say nothing


def damage() -> Counter[str]:
    """How many of the rude ones do each kind."""
    return Counter(MISBEHAVIOURS[number % len(MISBEHAVIOURS)][0] for number in range(CLIENTS // 2))


def crowd(path: Path, is_told: Callable[[], None]) -> None:
    """All of them at once, until the good ones have sent everything, and `is_told` has found all damage told."""
    over = threading.Event()
    rude = [
        threading.Thread(target=_misbehave, args=[path, *MISBEHAVIOURS[number % len(MISBEHAVIOURS)][1:], over])
        for number in range(CLIENTS // 2)
    ]
    good = [threading.Thread(target=_behave, args=[path, number]) for number in range(CLIENTS // 2)]
    for thread in [each for pair in zip(rude, good, strict=True) for each in pair]:
        thread.start()
    for thread in good:
        thread.join(WITHIN_S)
    is_told()
    over.set()
    for thread in rude:
        thread.join(WITHIN_S)


def check_extras(extras: list[str]) -> None:
    """All that the good ones have sent is there, each one's in order."""
    sent = [f"{number}/{message}" for number in range(CLIENTS // 2) for message in range(MESSAGES)]
    there = [extra for extra in extras if "/" in extra]
    assert sorted(there) == sorted(sent)
    for number in range(CLIENTS // 2):
        own = [extra for extra in there if extra.startswith(f"{number}/")]
        assert own == [f"{number}/{message}" for message in range(MESSAGES)], "in order"


def _misbehave(path: Path, pieces: list[bytes], stays: bool, over: threading.Event) -> None:
    with connected(path) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
            if stays:
                over.wait(WITHIN_S)
        except OSError:
            pass  # shown the door


def _behave(path: Path, number: int) -> None:
    with Sender(path, bidirectional=number % 2 == 0) as sender:
        for message in range(MESSAGES):
            sender.send(payload(extra=b"%d/%d" % (number, message)))
            time.sleep(random.uniform(0, 0.01))
        sender.stop()
