"""From a line of `--json` back to the frame: octet for octet where the line has it, else from its other keys."""

from __future__ import annotations

import json
import re
import socket
import struct
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from dnsproxy.dnstap.encode import NS_PER_S
from dnsproxy.dnstap.schema import HttpProtocol, MessageType, PolicyAction, PolicyMatch, SocketFamily, SocketProtocol
from dnsproxy.tap.compose import Fields, PolicyFields, compose
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.message_keys import Values, message_of, octets_of
from dnsproxy.wire import name_from_text

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_WRONG_SHAPE: Final = (AttributeError, KeyError, TypeError, OverflowError, struct.error)


def frame_of_line(line: str | bytes) -> TapFrame:
    """The frame that a line stands for; ValueError says why there is none."""
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return frame_of(values)


def frame_of(values: object) -> TapFrame:
    """The frame that the keys of `--json` describe; those not there count as `null`, those unknown do not count."""
    if not isinstance(values, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004  the line is wrong, not the program
    try:
        payload = octets_of(values.get("frame"))
        return TapFrame(compose(_fields(values)) if payload is None else payload)
    except _WRONG_SHAPE as exc:
        raise ValueError(f"is not as --json prints it: {exc!r}") from exc


def time_ns(text: str | None) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time; ValueError where it is none."""
    if text is None:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is no time')
    since_1970 = datetime.fromisoformat(match[1] + match[3].upper()) - EPOCH
    if since_1970 < timedelta():
        raise ValueError(f'"{text}" is before 1970')
    return since_1970 // timedelta(seconds=1) * NS_PER_S + int((match[2] or "").ljust(9, "0"))


def _fields(values: Values) -> Fields:
    type = _enum(values["type"], MessageType)
    if type is None:
        raise ValueError("a line without type")
    fields = Fields(type)
    fields.identity, fields.version, fields.extra = (_text(values, key) for key in ("identity", "version", "extra"))
    fields.socket_family = _enum(values.get("socket_family"), SocketFamily)
    fields.socket_protocol = _enum(values.get("socket_protocol"), SocketProtocol)
    fields.http_protocol = _enum(values.get("http_protocol"), HttpProtocol)
    fields.query_address, fields.query_port = _address(values.get("query_address")), _port(values, "query_port")
    fields.response_address, fields.response_port = (
        _address(values.get("response_address")),
        _port(values, "response_port"),
    )
    fields.query_zone = None if values.get("query_zone") is None else name_from_text(values["query_zone"])
    fields.policy = _policy(values.get("policy"))
    _set_times(fields, values)
    _set_messages(fields, values)
    return fields


def _set_times(fields: Fields, values: Values) -> None:
    fields.query_time_ns = time_ns(values.get("query_time"))
    fields.response_time_ns = time_ns(values.get("response_time"))
    own = time_ns(values.get("time"))
    if fields.type & 1:
        fields.query_time_ns = own if fields.query_time_ns is None else fields.query_time_ns
    else:
        fields.response_time_ns = own if fields.response_time_ns is None else fields.response_time_ns


def _set_messages(fields: Fields, values: Values) -> None:
    fields.query_message = octets_of(values.get("query_message"))
    fields.response_message = octets_of(values.get("response_message"))
    if fields.type & 1 and fields.query_message is None:
        fields.query_message = message_of(values)
    elif not fields.type & 1 and fields.response_message is None:
        fields.response_message = message_of(values)


def _policy(values: Values | None) -> bytes | None:
    if values is None:
        return None
    policy = PolicyFields(_text(values, "type"), _text(values, "rule"))
    policy.action = _enum(values.get("action"), PolicyAction)
    policy.match = _enum(values.get("match"), PolicyMatch)
    policy.value = _text(values, "value")
    return policy.encoded()


def _enum(word: str | None, words: type[IntEnum]) -> int | None:
    """The number of a word of the schema, or that is written there."""
    if word is None:
        return None
    known: Any = words.__members__.get(word)
    return int(word if known is None else known)


def _text(values: Values, key: str) -> bytes | None:
    text = values.get(key)
    return None if text is None else str.encode(text, errors="surrogatepass")


def _address(text: str | None) -> bytes | None:
    """`?` and hex digits stand for octets that are no address."""
    if text is None:
        return None
    if text.startswith("?"):
        return bytes.fromhex(text[1:])
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        raise ValueError(f'"{text}" is no address') from None


def _port(values: Values, key: str) -> int | None:
    port = values.get(key)
    if port is not None and not 0 <= port < 1 << 32:
        raise ValueError(f"{key} is {port}")
    return port
