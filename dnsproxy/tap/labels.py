"""Labels of templates, read from a message: CoreDNS's, `{.key}` of `--json`, `{/label}` of an `extra` that is JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from dnsproxy import wire as dns
from dnsproxy.dnstap.schema import SocketProtocol
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.words import CLASSES, TYPES, rcode_word

MISSING: Final = "-"
STREAM_BUFSIZE: Final = 65535  # what a client takes over TCP, where EDNS's size does not count
DATAGRAMS: Final = frozenset([SocketProtocol.UDP, SocketProtocol.DNSCryptUDP])
CARRIED_BY_UDP: Final = DATAGRAMS | {SocketProtocol.DOQ}
FLAGS: Final = ((0x8000, "qr"), (0x0400, "aa"), (0x0200, "tc"), (0x0100, "rd"))
FLAGS_BELOW: Final = ((0x0080, "ra"), (0x0040, "z"), (0x0020, "ad"), (0x0010, "cd"))

Value = Callable[[TapFrame], object]  # None: the message has no such value
_LABEL: Final = re.compile(r"\{([^{}]*)\}")  # the first } closes the nearest { before it


def split(template: str) -> list[str]:
    """Literal text and, at odd places, what stands between a pair of braces."""
    return _LABEL.split(template)


def value_of(label: str) -> Value | None:
    """How to read what a label stands for; None if it stands for nothing, or is a key's (`.name`)."""
    if label.startswith("/"):
        return lambda frame: extra_values(frame).get(label[1:])
    return LABELS.get(label)


def extra_values(frame: TapFrame) -> dict[str, Any]:
    """What is in an `extra` that is a JSON object; nothing in any other."""
    if frame.extra is None or not frame.extra.lstrip().startswith(b"{"):
        return {}
    try:
        values = json.loads(frame.extra)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def shown(value: object) -> str:
    """A value as text on one line: control characters as `\\DDD`, objects and lists as JSON."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\{octet:03d}" for octet in character.encode("utf-8", "surrogatepass"))


def _name(frame: TapFrame) -> str | None:
    name = frame.name
    return None if name is None else name.lower()


def _type(frame: TapFrame) -> str | None:
    return None if frame.qtype is None else TYPES.get(frame.qtype) or f"TYPE{frame.qtype}"


def _class(frame: TapFrame) -> str | None:
    return None if frame.qclass is None else CLASSES.get(frame.qclass) or f"CLASS{frame.qclass}"


def _protocol(frame: TapFrame) -> str | None:
    protocol = frame.socket_protocol
    return None if protocol is None else "udp" if protocol in CARRIED_BY_UDP else "tcp"


def _bracketed(text: str | None) -> str | None:
    return f"[{text}]" if text and ":" in text else text


def _query(frame: TapFrame) -> bytes | None:
    query = frame.query_message
    return None if query is None or len(query) < dns.QUESTION_START else query


def _dnssec_ok(frame: TapFrame) -> bool | None:
    query = _query(frame)
    if query is None:
        return None
    fixed = dns.opt_of(query)
    return fixed >= 0 and bool(query[fixed + 6] & 0x80)


def _bufsize(frame: TapFrame) -> int | None:
    query = _query(frame)
    if query is None:
        return None
    if frame.socket_protocol not in DATAGRAMS:
        return STREAM_BUFSIZE
    fixed = dns.opt_of(query)
    return dns.MIN_UDP_SIZE if fixed < 0 else max(int.from_bytes(query[fixed + 2 : fixed + 4], "big"), dns.MIN_UDP_SIZE)


def _response(frame: TapFrame) -> bytes | None:
    response = frame.response_message
    return None if response is None or len(response) < dns.QUESTION_START else response


def _rcode(frame: TapFrame) -> str | None:
    response = _response(frame)
    return None if response is None else rcode_word(dns.rcode_of(response))


def _duration(frame: TapFrame) -> str | None:
    latency = frame.latency_ns
    return None if latency is None else f"{max(latency, 0) / 1e9:.9f}s"  # the clock may have been set back


def _response_flags(frame: TapFrame) -> str | None:
    response = _response(frame)
    if response is None:
        return None
    flags = int.from_bytes(response[2:4], "big")
    return ",".join(word for bit, word in FLAGS + FLAGS_BELOW if flags & bit)


LABELS: Final[dict[str, Value]] = {
    "name": _name,
    "type": _type,
    "class": _class,
    "proto": _protocol,
    "size": lambda frame: None if frame.query_message is None else len(frame.query_message),
    "remote": lambda frame: _bracketed(frame.query_address_text),
    "port": lambda frame: frame.query_port,
    "local": lambda frame: _bracketed(frame.response_address_text),
    ">id": lambda frame: frame.id,
    ">opcode": lambda frame: frame.opcode,
    ">do": _dnssec_ok,
    ">bufsize": _bufsize,
    "rcode": _rcode,
    "rsize": lambda frame: None if frame.response_message is None else len(frame.response_message),
    "duration": _duration,
    ">rflags": _response_flags,
}
