"""`-y`: octet for octet what `dnstap -y` prints, a YAML document for each message."""

from __future__ import annotations

from dnsproxy.dnstap.schema import SocketFamily, SocketProtocol
from dnsproxy.tap.forms.render.go import SPACE, address_text, clock_text, quote
from dnsproxy.tap.forms.render.miekg import Malformed, message_text
from dnsproxy.tap.forms.render.miekg_names import read_name
from dnsproxy.tap.frame import TapFrame

FAMILIES = {int(family): family.name for family in SocketFamily}
PROTOCOLS = {int(protocol): protocol.name for protocol in SocketProtocol if protocol <= SocketProtocol.DOH}
"""The words that golang-dnstap 0.4 has; it prints the number of any other."""


class DnstapYaml:
    """Octets that are no UTF-8 are in the text as Python's `surrogateescape` has them."""

    def write(self, frame: TapFrame) -> str:
        """A document; a line `---` stands behind it."""
        lines = ["type: MESSAGE\n"]
        if frame.identity is not None:
            lines.append(f"identity: {quote(frame.identity)}\n")
        if frame.version is not None:
            lines.append(f"version: {quote(frame.version)}\n")
        lines.append(f"message:\n  type: {frame.type_name}\n")
        _add_time(lines, "query_time", frame.query_time_sec, frame.query_time_nsec)
        _add_time(lines, "response_time", frame.response_time_sec, frame.response_time_nsec)
        _add_socket(lines, frame)
        if frame.query_zone is not None:
            lines.append(_zone(frame.query_zone))
        if frame.query_message is not None:
            lines.append(_message("query_message", frame.query_message))
        if frame.response_message is not None:
            lines.append(_message("response_message", frame.response_message))
        lines.append("---\n")
        return "".join(lines)


def _add_time(lines: list[str], key: str, seconds: int | None, nanoseconds: int | None) -> None:
    if seconds is not None and nanoseconds is not None:
        lines.append(f"  {key}: !!timestamp {clock_text(seconds, nanoseconds, ' ')}\n")


def _add_socket(lines: list[str], frame: TapFrame) -> None:
    family, protocol = frame.socket_family, frame.socket_protocol
    if family is not None:
        lines.append(f"  socket_family: {FAMILIES.get(family, family)}\n")
    if protocol is not None:
        lines.append(f"  socket_protocol: {PROTOCOLS.get(protocol, protocol)}\n")
    if frame.query_address is not None:
        lines.append(f"  query_address: {address_text(frame.query_address)}\n")
    if frame.response_address is not None:
        lines.append(f"  response_address: {address_text(frame.response_address)}\n")
    if frame.query_port is not None:
        lines.append(f"  query_port: {frame.query_port}\n")
    if frame.response_port is not None:
        lines.append(f"  response_port: {frame.response_port}\n")


def _zone(zone: bytes) -> str:
    try:
        name = read_name(zone, 0, len(zone))[0]
    except Malformed as exc:
        return f"  # query_zone: parse failed: {exc}\n"
    return f"  query_zone: {quote(name.encode())}\n"


def _message(key: str, wire: bytes) -> str:
    try:
        text = message_text(wire)
    except Malformed as exc:
        return f"  # {key}: parse failed: {exc}\n"
    indented = text.rstrip(SPACE).replace("\n", "\n    ")
    return f"  {key}: |\n    {indented}\n"
