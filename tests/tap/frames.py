"""Frames and streams for tests, made with the protobuf library, and the command as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from dnsproxy.dnstap.dnstap_pb2 import Dnstap, Message
from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, Deframer, control_frame, data_frame
from tests.support import wire

CORPUS = Path(__file__).parent / "corpus"
MAIN = CORPUS / "main.fstrm"
START = control_frame(ControlType.START, DNSTAP)
STOP = control_frame(ControlType.STOP)
WITHIN_S = 60.0  # a command takes 0.2 s; tests share their machine

QUERY = wire.query("www.example.org", id=0x1234, edns=True)
SECOND = 1_700_000_000  # 2023-11-14T22:13:20Z
CLIENT, SERVER = "192.0.2.7", "192.0.2.53"


def payload(type: str = "CLIENT_QUERY", message: bytes | None = QUERY, **fields: Any) -> bytes:
    """A frame of that type with its DNS message; more: fields of Message or Dnstap by name, None for none.

    Addresses are text, `policy` is a mapping, `query_time` and `response_time` are (seconds, nanoseconds).
    """
    frame = Dnstap(type=Dnstap.MESSAGE)
    frame.message.type = getattr(Message, type)
    usual: dict[str, Any] = {
        "identity": b"ns1",
        "version": b"test 1",
        "socket_family": 1,
        "socket_protocol": 1,
        "query_address": CLIENT,
        "query_port": 40000,
        "response_address": SERVER,
        "response_port": 53,
        "query_time": (SECOND, 123_456_789),
        "response_time": None if type.endswith("QUERY") else (SECOND, 125_000_000),
        "query_message" if type.endswith("QUERY") else "response_message": message,
    }
    for name, value in (usual | fields).items():
        if value is not None:
            _set(frame, name, value)
    return frame.SerializeToString()


def _set(frame: Dnstap, name: str, value: Any) -> None:
    if name in {"identity", "version", "extra"}:
        setattr(frame, name, value)
    elif name in {"query_time", "response_time"}:
        setattr(frame.message, f"{name}_sec", value[0])
        setattr(frame.message, f"{name}_nsec", value[1])
    elif name == "policy":
        for key, each in value.items():
            setattr(frame.message.policy, key, each)
    elif isinstance(value, str):
        setattr(frame.message, name, ip_address(value).packed)
    else:
        setattr(frame.message, name, value)


def stream(*payloads: bytes, stop: bool = True) -> bytes:
    """A file of frames."""
    return START + b"".join(map(data_frame, payloads)) + (STOP if stop else b"")


def payloads_in(octets: bytes) -> list[bytes]:
    """The data frames of a stream."""
    return [item for item in Deframer().receive_data(octets) if isinstance(item, bytes)]


def corpus_payloads() -> list[bytes]:
    """All data frames of all recorded streams."""
    return [each for path in sorted(CORPUS.glob("*.fstrm")) for each in payloads_in(path.read_bytes())]


def tap(
    *arguments: str | Path, stdin: bytes = b"", environment: Mapping[str, str] = {}, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    """`dnsproxy tap …` as a process of its own, in UTC."""
    return subprocess.run(
        [sys.executable, "-m", "dnsproxy", "tap", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=WITHIN_S,
        env=environment_with(environment),
        **more,
    )


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, in UTC, without what changes colours."""
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "TERM"}}
    return {**plain, "TZ": "UTC", **more}


def write_stream(path: Path, payloads: Iterable[bytes]) -> Path:
    """A file of these frames."""
    path.write_bytes(stream(*payloads))
    return path
