"""DNS messages on streams: two octets of length before each (RFC 1035 section 4.2.2)."""

from __future__ import annotations


class MessageReader:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def receive_data(self, data: bytes) -> list[bytes]:
        """The messages that are whole after `data`; a zero length gives an empty one."""
        buffer = self.buffer
        buffer += data
        messages = []
        at = 0
        while len(buffer) - at >= 2:
            end = at + 2 + int.from_bytes(buffer[at : at + 2], "big")
            if end > len(buffer):
                break
            messages.append(bytes(buffer[at + 2 : end]))
            at = end
        del buffer[:at]
        return messages

    @property
    def has_part(self) -> bool:
        """Whether the beginning of a message is waiting for its end."""
        return bool(self.buffer)


def framed(octets: bytes) -> bytes:
    """A message with its length before it."""
    return len(octets).to_bytes(2, "big") + octets
