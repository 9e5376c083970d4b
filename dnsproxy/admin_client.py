"""Asks a running proxy over its admin socket, without an event loop."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from typing import Any

from dnsproxy.text_table import clean

ANSWER_S = 5.0  # connecting, asking and reading together
MAX_ANSWER = 64 * 2**20  # octets; thousands of upstreams need a few hundred KiB


class NoAnswer(Exception):
    """No proxy answered; the text is one line that says where it was looked for and why not."""


class _Refusal(Exception):
    """The proxy answers, but not with what was asked for."""


def ask(paths: Iterable[str], command: str = "status") -> dict[str, Any]:
    """The answer of the first of these sockets on which a proxy answers; NoAnswer when none does."""
    reasons = []
    for path in paths:
        try:
            return _ask(path, command)
        except TimeoutError:
            reasons.append(f"{path}: no answer within {ANSWER_S:g} s")
        except OSError as exc:
            reasons.append(f"{path}: {exc.strerror or exc}")
        except (ValueError, TypeError):
            reasons.append(f"{path}: what answers is no dnsproxy")
        except _Refusal as exc:
            reasons.append(f"{path}: {exc}")
    raise NoAnswer("no running proxy answers (" + "; ".join(reasons) + ")")


def _ask(path: str, command: str) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(path)
        connection.sendall(json.dumps({"command": command}).encode() + b"\n")
        answer: dict[str, Any] = dict(json.loads(_read_all(connection, deadline)))
    if "error" in answer:
        raise _Refusal(clean(answer["error"]))
    return answer


def _read_all(connection: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < MAX_ANSWER:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(65536)
        if not part:
            break
        received += part
    return bytes(received)
