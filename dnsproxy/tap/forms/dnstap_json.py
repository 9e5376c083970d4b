"""`-j`: octet for octet what `dnstap -j` prints, a JSON object for each message, the DNS message in it as text."""

from __future__ import annotations

from dnsproxy.tap.forms.dnstap_yaml import FAMILIES, PROTOCOLS
from dnsproxy.tap.forms.render.go import address_text, clock_text, json_string, text_of
from dnsproxy.tap.forms.render.miekg import Malformed, message_text
from dnsproxy.tap.forms.render.miekg_names import read_name
from dnsproxy.tap.frame import TapFrame

ABSENT = r"\u003cnil\u003e"  # a pointer to nothing, as Go prints it, safe in HTML


class DnstapJson:
    """An address of the wrong size, at which the real program stops, is `?` and its octets, as in `-y`."""

    def write(self, frame: TapFrame) -> str:
        """A line."""
        parts = ['{"type":"MESSAGE"']
        if frame.identity:
            parts.append(f',"identity":{json_string(text_of(frame.identity))}')
        if frame.version:
            parts.append(f',"version":{json_string(text_of(frame.version))}')
        parts.append(f',"message":{{"type":"{frame.type_name}"')
        _add_time(parts, "query_time", frame.query_time_sec, frame.query_time_nsec)
        _add_time(parts, "response_time", frame.response_time_sec, frame.response_time_nsec)
        _add_socket(parts, frame)
        if frame.query_zone is not None:
            parts.append(f',"query_zone":{json_string(_zone(frame.query_zone))}')
        if frame.query_message is not None:
            parts.append(f',"query_message":{json_string(_message(frame.query_message))}')
        if frame.response_message is not None:
            parts.append(f',"response_message":{json_string(_message(frame.response_message))}')
        parts.append("}}\n")
        return "".join(parts)


def _add_time(parts: list[str], key: str, seconds: int | None, nanoseconds: int | None) -> None:
    if seconds is not None and nanoseconds is not None:
        parts.append(f',"{key}":"{clock_text(seconds, nanoseconds, "T")}Z"')


def _add_socket(parts: list[str], frame: TapFrame) -> None:
    family, protocol = frame.socket_family, frame.socket_protocol
    shown_family = ABSENT if family is None else FAMILIES.get(family, family)
    shown_protocol = ABSENT if protocol is None else PROTOCOLS.get(protocol, protocol)
    parts.append(f',"socket_family":"{shown_family}","socket_protocol":"{shown_protocol}"')
    if frame.query_address is not None:
        parts.append(f',"query_address":"{_address(frame.query_address)}"')
    if frame.response_address is not None:
        parts.append(f',"response_address":"{_address(frame.response_address)}"')
    if frame.query_port:
        parts.append(f',"query_port":{frame.query_port}')
    if frame.response_port:
        parts.append(f',"response_port":{frame.response_port}')


def _address(packed: bytes) -> str:
    return address_text(packed) if packed else ""


def _zone(zone: bytes) -> str:
    try:
        return read_name(zone, 0, len(zone))[0]
    except Malformed as exc:
        return f"parse failed: {exc}"


def _message(wire: bytes) -> str:
    try:
        return message_text(wire)
    except Malformed as exc:
        return f"parse failed: {exc}"
