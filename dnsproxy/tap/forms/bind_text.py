"""`--bind -p` and `--bind -x`: octet for octet the line and text, or the line and hex digits, of `dnstap-read`."""

from __future__ import annotations

from dnsproxy.tap.forms.bind_short import BindShort, is_shown, parsed
from dnsproxy.tap.forms.render.bind import text
from dnsproxy.tap.frame import TapFrame


class BindText(BindShort):
    """Octets of extended errors' texts are in ours as Python's `surrogateescape` has them."""

    def write(self, frame: TapFrame) -> str:
        """The line, and the message if BIND parses it."""
        message = parsed(frame)
        if not is_shown(frame, message):
            return ""
        line = self.line(frame, message)
        return line if message is None else line + text(message)


class BindHex(BindShort):
    """As BindShort."""

    def write(self, frame: TapFrame) -> str:
        """The line, and the message's octets if BIND parses it."""
        message = parsed(frame)
        if not is_shown(frame, message):
            return ""
        line = self.line(frame, message)
        return line if message is None else f"{line}{(frame.wire or b'').hex().upper()}\n"
