"""DNS messages on streams: two octets of length before each (RFC 1035 section 4.2.2)."""

from __future__ import annotations


class MessageReader:
    """Bytes in, messages out."""

    def __init__(self) -> None:
        self.part = b""  # of a message that is not whole yet

    def receive_data(self, data: bytes) -> list[bytes]:
        """The messages that are whole after `data`; a zero length gives an empty one."""
        if self.part:
            data = self.part + data
        messages: list[bytes] = []
        at, size = 0, len(data)
        while size - at >= 2:
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > size:
                break
            messages.append(data[at + 2 : end])
            at = end
        self.part = data[at:]
        return messages

    @property
    def has_part(self) -> bool:
        """Whether the beginning of a message is waiting for its end."""
        return bool(self.part)


def framed(octets: bytes) -> bytes:
    """A message with its length before it."""
    return len(octets).to_bytes(2, "big") + octets
