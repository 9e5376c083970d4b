"""Ports of our own on the loopback, and the question whether a server there answers yet."""

import socket
import struct
import time
from collections.abc import Callable

from harness.errors import BenchError

HOST = "127.0.0.1"
READY_S = 15  # a Go or Python program that starts on a busy machine
ANSWER_S = 3  # an upstream of the bench may take half of that
RETRY_S = 0.1  # between two tries
PORT_TRIES = 50  # until a port is free in both UDP and TCP
TYPE_A, CLASS_IN, RECURSION_DESIRED, QUERY_ID = 1, 1, 0x0100, 0x4242
RCODE_BITS, NOERROR = 0x000F, 0


def free_port() -> int:
    """A port that is free in UDP and TCP at this moment."""
    for _ in range(PORT_TRIES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind((HOST, 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind((HOST, port))
            except OSError:
                continue
            return port
    raise BenchError("no port is free in both UDP and TCP")


def wait_for_answer(port: int, qname: str, still_alive: Callable[[], None]) -> None:
    """Returns once the server gives a NOERROR answer with records; raises BenchError if it does not in time."""
    give_up = time.monotonic() + READY_S
    seen = "no answer"
    while time.monotonic() < give_up:
        still_alive()
        seen = _ask(port, qname)
        if not seen:
            return
        time.sleep(RETRY_S)
    raise BenchError(f"port {port} does not answer {qname} A with NOERROR: {seen}")


def _ask(port: int, qname: str) -> str:
    """What is wrong with the answer; empty if nothing is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(ANSWER_S)
        udp.connect((HOST, port))
        try:
            udp.send(_query(qname))
            wire = udp.recv(4096)
        except OSError as exc:
            return str(exc)
    id_, flags, _questions, answers = struct.unpack_from("!4H", wire)
    if id_ != QUERY_ID:
        return "an answer to something else"
    rcode = flags & RCODE_BITS
    return "" if rcode == NOERROR and answers else f"rcode {rcode}, {answers} records"


def _query(qname: str) -> bytes:
    labels = (label.encode() for label in qname.rstrip(".").split("."))
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!6H", QUERY_ID, RECURSION_DESIRED, 1, 0, 0, 0) + name + struct.pack("!2H", TYPE_A, CLASS_IN)
