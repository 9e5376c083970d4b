"""DNS cookies with one upstream (RFC 7873, RFC 9018): what tells its replies from those of others."""

from __future__ import annotations

import os
from typing import Final

CLIENT_OCTETS: Final = 8
SERVER_LEAST, SERVER_MOST = 8, 32  # octets of a server cookie
BADCOOKIE: Final = 23  # the RCODE


class Cookies:
    """Our cookie and the upstream's.

    One client cookie for each upstream, drawn anew at every start, tells no two of them that we are the same client
    (RFC 7873 section 4.1); from which of our addresses it is asked does not change as long as that address stands.
    """

    __slots__ = ("client", "server")

    def __init__(self) -> None:
        self.client = os.urandom(CLIENT_OCTETS)
        self.server = b""  # as told last; b"" as long as it has told none

    @property
    def data(self) -> bytes:
        """Of the option that goes out."""
        return self.client + self.server

    def is_ours(self, data: bytes) -> bool:
        """Whether an option that came back is well-formed and begins with our cookie."""
        server = len(data) - CLIENT_OCTETS
        return data[:CLIENT_OCTETS] == self.client and (server == 0 or SERVER_LEAST <= server <= SERVER_MOST)

    def learn(self, data: bytes) -> None:
        """Send the server cookie in that option, which is ours, from now on."""
        if len(data) > CLIENT_OCTETS:
            self.server = data[CLIENT_OCTETS:]

    def forget(self) -> None:
        """The upstream does not do cookies any more, it seems: none is expected until it gives a new one."""
        self.server = b""
