"""The keys of a `[[dnstap]]` stanza."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from dnsproxy.config import OptionError, OptionErrors, ReadableFile, Reader, Size, option, shown
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.schema import ALL_TYPES, TYPE_FORMS, MessageType, select_types
from dnsproxy.template import Template, compile_template

TLS_KEYS = ("ca", "cert", "key", "server_name", "skip_verify")
QUEUE_OCTETS = 64 * 2**20  # 10 000 full messages of 64 KiB do not fit, 10 000 usual ones take 2 MiB
QUEUE_OCTETS_MIN = 1024  # fewer do not hold a message
# not by its `from_toml`, whose annotations are gone once it is compiled
Extra = Annotated[
    Template,
    Reader(
        (str, dict),
        Template.expected,
        lambda value, _folder: Template.from_toml(value),
        lambda template: shown(str(template)),
    ),
]


@dataclass(frozen=True)
class Types:
    """Message types by an operator's word for them."""

    expected: ClassVar[str] = TYPE_FORMS

    word: str
    types: frozenset[MessageType]

    @classmethod
    def from_toml(cls, value: str) -> Types:
        """ValueError when the word means none."""
        return cls(value, select_types(value))

    def __str__(self) -> str:
        return self.word


@dataclass(frozen=True)
class TapConfig:
    """One tap."""

    socket: Destination = option(help="where to: unix:///path or /path, tcp://host:port, tls://host:port, file:///path")
    name: str | None = option(None, help="what status and logs call this tap", default_text="the socket")
    full: bool = option(False, help="send the DNS messages too, not just what is known about them")
    identity: str | None = option(None, help='who is speaking; "" leaves the field out', default_text="the host name")
    version: str | None = option(
        None, help='which software; "" leaves the field out', default_text="dnsproxy and its version"
    )
    extra: Extra = option(compile_template(""), help='template for the field extra; "" leaves it out')
    types: tuple[Types, ...] = option(
        (Types("all", ALL_TYPES),), one_or_more=True, may_repeat=True, help="which messages: CQ, client, query, all, …"
    )
    queue: int = option(10_000, minimum=1, maximum=10_000_000, help="messages kept while the collector is slow or away")
    queue_bytes: Size = option(QUEUE_OCTETS, minimum=QUEUE_OCTETS_MIN, help="octets kept, whichever bound comes first")
    ca: ReadableFile | None = option(None, help="PEM of the roots to trust", default_text="the system's")
    cert: ReadableFile | None = option(None, help="PEM of our certificate, for collectors that want one")
    key: ReadableFile | None = option(None, help="PEM of its key", default_text="in cert")
    server_name: str | None = option(None, help="name in the collector's certificate", default_text="the host")
    skip_verify: bool = option(False, help="take any certificate: only for tests, warns at each start")

    def __post_init__(self) -> None:
        errors = list(self._errors())
        if errors:
            raise OptionErrors(errors)

    @property
    def shown_name(self) -> str:
        """What status and logs call this tap."""
        return self.name or str(self.socket)

    @property
    def selected(self) -> frozenset[MessageType]:
        """The message types wanted."""
        return frozenset().union(*(each.types for each in self.types))

    @property
    def output(self) -> OutputOptions:
        """What taps of the old and the new configuration agree in when a reload keeps the connection."""
        tls = TlsOptions(self.ca, self.cert, self.key, self.server_name, self.skip_verify)
        return OutputOptions(self.shown_name, self.socket, tls, self.queue, self.queue_bytes)

    def claims(self) -> Iterator[tuple[str, str]]:
        """What no other stanza may have: the name, and a file."""
        if self.socket.scheme == "file":
            yield "socket", f"file://{os.path.realpath(self.socket.path)}"
        if self.name is not None:
            yield "name", self.name
        elif self.socket.scheme != "file":
            yield "socket", str(self.socket)

    def _errors(self) -> Iterator[OptionError]:
        if self.name == "":
            yield OptionError("name", "is empty; expected a name, or none")
        if self.socket.scheme != "tls":
            for key in TLS_KEYS:
                if getattr(self, key):
                    yield OptionError(key, f"is for tls:// only; expected none with {self.socket}")
            return
        if self.key and not self.cert:
            yield OptionError("key", "stands without cert; expected both or none")
        yield from self._errors_of_files()

    def _errors_of_files(self) -> Iterator[OptionError]:
        """Read the PEM files as a connection will."""
        for key in ("ca", "cert"):
            path = getattr(self, key)
            if path and (reason := _failure(TlsOptions(ca=path))):
                yield OptionError(key, f"{path} will not do ({reason}); expected PEM certificates")
                return
        if self.cert and (reason := _failure(TlsOptions(cert=self.cert, key=self.key, skip_verify=True))):
            at, path = ("key", self.key) if self.key else ("cert", self.cert)
            yield OptionError(at, f"{path} will not do ({reason}); expected the PEM private key of the certificate")


def _failure(tls: TlsOptions) -> str:
    """Why these files cannot be used; empty when they can."""
    try:
        tls.context()
    except OSError as exc:
        return _reason(exc)
    return ""


def _reason(exc: OSError) -> str:
    return (exc.reason or "not PEM") if isinstance(exc, ssl.SSLError) else exc.strerror or str(exc)
