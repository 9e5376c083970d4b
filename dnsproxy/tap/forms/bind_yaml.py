"""`--bind -y`: octet for octet what `dnstap-read -y` prints, a YAML document for each message."""

from __future__ import annotations

from dnsproxy.dnstap.schema import SocketFamily, SocketProtocol
from dnsproxy.tap.forms.bind_short import inet_text, is_shown, parsed, relevant_time
from dnsproxy.tap.forms.render.bind import INDENT, text, yaml
from dnsproxy.tap.forms.render.bind_message import Message
from dnsproxy.tap.forms.render.bind_names import Unparsable, read_name
from dnsproxy.tap.forms.render.go import text_of
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.times import SecondTexts, iso_text

FAMILIES = {int(family): family.name for family in SocketFamily}


class BindYaml:
    """Octets that are no UTF-8 are in the text as Python's `surrogateescape` has them."""

    def __init__(self) -> None:
        self._seconds = SecondTexts(iso_text, utc=True)
        self._is_first = True

    def write(self, frame: TapFrame) -> str:
        """A document, behind a line `---` if it is not the first; nothing for what BindShort has no line for either."""
        message = parsed(frame)
        if not is_shown(frame, message):
            return ""
        lines = ["type: MESSAGE\n"] if self._is_first else ["---\ntype: MESSAGE\n"]
        self._is_first = False
        for key, value in (("identity", frame.identity), ("version", frame.version)):
            if value is not None:
                lines.append(f"{key}: {_until_nul(value)}\n")
        lines.append(f"message:\n  type: {frame.type_name}\n")
        lines += self._time(frame)
        lines.append(f"  message_size: {len(frame.wire or b'')}b\n")
        lines += _socket_lines(frame)
        lines += _zone_lines(frame.query_zone)
        if message is not None:
            lines += _message_lines(frame, message)
        return "".join(lines)

    def _time(self, frame: TapFrame) -> list[str]:
        time = relevant_time(frame)
        if time is None:
            return []
        key = "query_time" if frame.is_query else "response_time"
        return [f"  {key}: !!timestamp {self._seconds.text(time[0])}Z\n"]


def _until_nul(octets: bytes) -> str:
    return text_of(octets.partition(b"\0")[0])


def _socket_lines(frame: TapFrame) -> list[str]:
    family = FAMILIES.get(frame.socket_family or 0)
    lines = [f"  socket_family: {family}\n"] if family else []
    lines.append(f"  socket_protocol: {'TCP' if frame.socket_protocol == SocketProtocol.TCP else 'UDP'}\n")
    if frame.query_address is not None:
        lines.append(f'  query_address: "{_address(frame.query_address)}"\n')
    if frame.response_address is not None:
        lines.append(f'  response_address: "{_address(frame.response_address)}"\n')
    if frame.query_port is not None:
        lines.append(f"  query_port: {frame.query_port}\n")
    if frame.response_port is not None:
        lines.append(f"  response_port: {frame.response_port}\n")
    return lines


def _address(address: bytes) -> str:
    """What is not IPv4 is taken for IPv6, of which the first 16 octets count; where some are missing they are zero."""
    return inet_text(address if len(address) == 4 else address[:16].ljust(16, b"\0"))


def _zone_lines(zone: bytes | None) -> list[str]:
    """Nothing for what is no name."""
    if zone is None:
        return []
    try:
        return [f"  query_zone: {read_name(zone, 0, len(zone), compressed=False)[0]}\n"]
    except Unparsable:
        return []


def _message_lines(frame: TapFrame, message: Message) -> list[str]:
    key = "query_message" if frame.is_query else "response_message"
    return [f"  {key}_data:\n", yaml(message), f"  {key}: |\n", text(message, INDENT)]
