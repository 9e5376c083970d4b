"""What `--json` prints: one object per message, every key in every line and in the same order."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as quote
from typing import Any, Final

from dnsproxy import wire as dns
from dnsproxy.tap.forms.json_message import NO_MESSAGE, base64_text, message_keys
from dnsproxy.tap.frame import NS_PER_S, TYPE_NAMES, Policy, TapFrame, address_text
from dnsproxy.tap.rdata import read_name
from dnsproxy.tap.times import SecondTexts, iso_text
from dnsproxy.tap.words import ACTIONS, FAMILIES, HTTP_PROTOCOLS, MATCHES, PROTOCOLS, word

_KEYS: Final = """
    type time identity version extra socket_family socket_protocol http_protocol query_address query_port
    response_address response_port query_time response_time latency_ms query_zone size id opcode rcode flags
    qname qtype qclass qdcount ancount nscount arcount answer authority additional edns policy malformed
    query_message response_message
"""
KEYS: Final = tuple(_KEYS.split())
TEXTS_KEPT: Final = 16384  # of identities, addresses, …: about 3 MiB
MESSAGES_KEPT: Final = 2048  # a message passes twice and more: from the client and to the upstream, and back
LONGEST_KEPT: Final = 512  # octets of a message; with the texts no more than about 4 MiB of each kind
NULL: Final = "null"


class JsonLines:
    """Without `wire` the messages' octets are null; with `frame` the whole frame's are there."""

    def __init__(self, wire: bool = True, frame: bool = False) -> None:
        self._wire = wire
        self._frame = frame
        self._clock = SecondTexts(iso_text, utc=True)
        self._texts: dict[bytes, str] = {}
        self._addresses: dict[bytes, str] = {}
        self._queries: dict[bytes, tuple[str, str]] = {}  # by what stands behind the ID
        self._responses: dict[bytes, tuple[str, str]] = {}

    def write(self, frame: TapFrame) -> str:
        """One line."""
        is_query = frame.is_query
        asked, answered = self._time(frame.query_time_ns), self._time(frame.response_time_ns)
        latency = frame.latency_ns
        message, malformed = self._message(frame.wire, is_query)
        octets = f',"frame":"{base64_text(frame.payload)}"' if self._frame else ""
        return (
            f'{{"type":"{TYPE_NAMES.get(frame.type) or frame.type}","time":{asked if is_query else answered},'
            f'"identity":{self._text(frame.identity)},"version":{self._text(frame.version)},'
            f'"extra":{NULL if frame.extra is None else text_of(frame.extra)},{_transport(frame)},'
            f'"query_address":{self._address(frame.query_address)},"query_port":{_number(frame.query_port)},'
            f'"response_address":{self._address(frame.response_address)},"response_port":{_number(frame.response_port)},'
            f'"query_time":{asked},"response_time":{answered},'
            f'"latency_ms":{NULL if latency is None else latency / 1e6},"query_zone":{_zone(frame.query_zone)},'
            f'{message},"policy":{_policy(frame.policy)},"malformed":{malformed},'
            f'"query_message":{self._octets(frame.query_message)},'
            f'"response_message":{self._octets(frame.response_message)}{octets}}}\n'
        )

    def _time(self, time_ns: int | None) -> str:
        if time_ns is None:
            return NULL
        second, below = divmod(time_ns, NS_PER_S)
        return f'"{self._clock.text(second)}.{below:09d}Z"'

    def _text(self, octets: bytes | None) -> str:
        if octets is None:
            return NULL
        known = self._texts.get(octets)
        if known is None:
            if len(self._texts) >= TEXTS_KEPT:
                self._texts.clear()
            known = self._texts[octets] = text_of(octets)
        return known

    def _address(self, packed: bytes | None) -> str:
        if packed is None:
            return NULL
        known = self._addresses.get(packed)
        if known is None:
            if len(self._addresses) >= TEXTS_KEPT:
                self._addresses.clear()
            known = self._addresses[packed] = f'"{address_text(packed)}"'
        return known

    def _message(self, wire: bytes | None, is_query: bool) -> tuple[str, str]:
        """From `size` to `edns`, and `malformed`."""
        if wire is None:
            return f'"size":0,{NO_MESSAGE}', NULL
        if len(wire) < dns.QUESTION_START:
            return f'"size":{len(wire)},{NO_MESSAGE}', f'"{len(wire)} octets are no header"'
        kept = self._queries if is_query else self._responses
        known = kept.get(wire[2:])
        if known is None:
            known = self._read(wire, is_query, kept)
        keys, malformed = known
        return f'"size":{len(wire)},"id":{wire[0] << 8 | wire[1]},{keys}', malformed

    def _read(self, wire: bytes, is_query: bool, kept: dict[bytes, tuple[str, str]]) -> tuple[str, str]:
        keys, malformed = message_keys(wire, is_query)
        known = keys, NULL if malformed is None else quote(malformed)
        if len(wire) <= LONGEST_KEPT:
            if len(kept) >= MESSAGES_KEPT:
                kept.clear()
            kept[wire[2:]] = known
        return known

    def _octets(self, wire: bytes | None) -> str:
        return NULL if wire is None or not self._wire else f'"{base64_text(wire)}"'


def values_of(frame: TapFrame, wire: bool = True, octets: bool = False) -> dict[str, Any]:
    """What the line says, as values; `octets` has the key `frame` in it."""
    values: dict[str, Any] = json.loads(JsonLines(wire, octets).write(frame))
    return values


def text_of(octets: bytes) -> str:
    """A JSON string; what is not UTF-8 becomes U+FFFD."""
    return quote(octets.decode("utf-8", "replace"))


def _number(number: int | None) -> str:
    return NULL if number is None else str(number)


def _word(words: dict[int, str], number: int | None) -> str:
    return NULL if number is None else f'"{word(words, number)}"'


def _transport(frame: TapFrame) -> str:
    return (
        f'"socket_family":{_word(FAMILIES, frame.socket_family)},'
        f'"socket_protocol":{_word(PROTOCOLS, frame.socket_protocol)},'
        f'"http_protocol":{_word(HTTP_PROTOCOLS, frame.http_protocol)}'
    )


def _zone(octets: bytes | None) -> str:
    """A name in wire form; null if it is none."""
    if octets is None:
        return NULL
    try:
        name, end = read_name(octets, 0)
    except dns.WireError:
        return NULL
    return quote(name) if end == len(octets) else NULL


def _policy(policy: Policy | None) -> str:
    if policy is None:
        return NULL
    type, rule, value = (
        NULL if octets is None else text_of(octets) for octets in (policy.type, policy.rule, policy.value)
    )
    action, match = _word(ACTIONS, policy.action), _word(MATCHES, policy.match)
    return f'{{"type":{type},"rule":{rule},"action":{action},"match":{match},"value":{value}}}'
