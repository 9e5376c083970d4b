"""The keys of a `[[dnstap]]` stanza."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dnsproxy.config import Cidr, Duration, OptionErrors, ReadableFile, Size, Zone, option
from dnsproxy.dns_words import Qtype, Rcode
from dnsproxy.dnstap.connection import KEEPALIVE_MAX
from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.privacy import Privacy
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.schema import ALL_TYPES, MessageType
from dnsproxy.dnstap.selection import Selection
from dnsproxy.dnstap.spool import SPOOL_OCTETS, SpoolOptions
from dnsproxy.template import compile_template
from dnsproxy_dnstap.anonymize import Anonymize
from dnsproxy_dnstap.checks import errors_in
from dnsproxy_dnstap.values import Always, Extra, Folder, Protocol, SamplePart, Socket, Strip, Types

QUEUE_OCTETS = 64 * 2**20  # 10 000 full messages of 64 KiB do not fit, 10 000 usual ones take 2 MiB
OCTETS_MIN = 1024  # of a queue, a spool, a file: fewer do not hold a message
MESSAGES_MAX = 50_000_000  # CoreDNS's bound is 41 million
CONNECTIONS_MAX = 64  # streams to one collector; one takes more than a worker can send


@dataclass(frozen=True)
class TapConfig:
    """One tap."""

    # where to
    socket: Socket | None = option(
        None,
        help="where to: unix:///path or /path, tcp://host:port, tls://host:port, file:///path with strftime's %Y-%m-%d",
        default_text="none; this or listen is required",
    )
    listen: ListenUrl | None = option(None, help="where collectors dial in, in place of socket")
    name: str | None = option(None, help="what status and logs call this tap", default_text="the socket")

    # what a message holds
    full: bool = option(False, help="send the DNS messages too, not just what is known about them")
    responses_with_queries: bool = option(False, help="put the query's DNS message into responses too")
    identity: str | None = option(None, help='who is speaking; "" leaves the field out', default_text="the host name")
    version: str | None = option(
        None, help='which software; "" leaves the field out', default_text="dnsproxy and its version"
    )
    extra: Extra = option(compile_template(""), help='template for the field extra; "" leaves it out')
    compat: bool = option(False, help="only enum values that old consumers know: UDP and TCP for what they carry")

    # which messages
    types: tuple[Types, ...] = option(
        (Types("all", ALL_TYPES),), one_or_more=True, may_repeat=True, help="which messages: CQ, client, query, all, …"
    )
    zones: tuple[Zone, ...] | None = option(
        None, one_or_more=True, help="only queries for names in these zones", default_text="all"
    )
    clients: tuple[Cidr, ...] | None = option(
        None, one_or_more=True, help="only queries from these networks", default_text="all"
    )
    qtypes: tuple[Qtype, ...] | None = option(
        None, one_or_more=True, help="only queries for these record types", default_text="all"
    )
    protocols: tuple[Protocol, ...] | None = option(
        None, one_or_more=True, help="only queries that came over these protocols", default_text="all"
    )
    rcodes: tuple[Rcode, ...] | None = option(
        None, one_or_more=True, help="only queries whose answer has one of these rcodes", default_text="all"
    )
    only: Literal["errors"] | None = option(
        None, help="only queries whose answer is neither NOERROR nor NXDOMAIN", default_text="all"
    )
    slower_than: Duration | None = option(
        None, help='only queries that took longer; with always = ["slow"] what slow means', default_text="all"
    )
    sample: SamplePart | None = option(
        None, help="part of the queries that is shown, 0.01 for one in 100", default_text="all"
    )
    always: tuple[Always, ...] = option((), one_or_more=True, help="what is shown whether it is in the sample or not")

    # what it hides
    anonymize: Anonymize | None = option(None, help="cut clients' addresses to prefixes, or replace them by pseudonyms")
    strip: tuple[Strip, ...] = option((), one_or_more=True, help="EDNS options taken out of the DNS messages")
    qname: Literal["drop", "hash"] | None = option(None, help="put the root, or a digest, in place of the name")

    # while it is slow or away
    queue: int = option(
        10_000, minimum=1, maximum=MESSAGES_MAX, help="messages kept while the collector is slow or away"
    )
    queue_bytes: Size = option(QUEUE_OCTETS, minimum=OCTETS_MIN, help="octets kept, whichever bound comes first")
    overflow: Literal["newest", "oldest"] = option("newest", help="what is given up when no more can be kept")
    spool: Folder | None = option(None, help="folder for what the queue does not hold; it is sent later, in order")
    spool_max: Size | None = option(
        None, minimum=OCTETS_MIN, help="octets of disk that the spool may take", default_text="1GiB"
    )

    # how it is sent
    connections: int = option(1, minimum=1, maximum=CONNECTIONS_MAX, help="streams to the collector at once")
    flush: Duration = option(0.1, maximum=3600, help="how long a message may wait for others to be sent with")
    batch: int = option(256, minimum=1, maximum=MESSAGES_MAX, help="messages that are sent without waiting for more")
    keepalive: Duration | None = option(
        None, minimum=1.0, maximum=KEEPALIVE_MAX, help="silence after which the connection is probed"
    )
    stall: Duration = option(30.0, minimum=0.1, help="told when messages wait so long and none is taken")

    # files
    rotate_size: Size | None = option(
        None, minimum=OCTETS_MIN, help="octets of a file, before compression; then another begins"
    )
    rotate_every: Duration | None = option(None, minimum=1.0, help="time of a file by the clock; then another begins")
    keep: int | None = option(
        None, minimum=1, help="closed files that stay; older ones are removed", default_text="all"
    )
    compress: Literal["gzip", "zstd"] | None = option(None, help="how closed files are compressed")

    # TLS
    ca: ReadableFile | None = option(
        None, help="PEM of the roots to trust; with listen what collectors must prove", default_text="the system's"
    )
    cert: ReadableFile | None = option(None, help="PEM of our certificate, for collectors that want one, and to listen")
    key: ReadableFile | None = option(None, help="PEM of its key", default_text="in cert")
    server_name: str | None = option(None, help="name in the collector's certificate", default_text="the host")
    skip_verify: bool = option(False, help="take any certificate: only for tests, warns at each start")

    def __post_init__(self) -> None:
        errors = list(errors_in(self))
        if errors:
            raise OptionErrors(errors)

    @property
    def destination(self) -> Destination:
        """Where messages go, or collectors dial in."""
        destination = self.socket or self.listen
        assert destination is not None
        return destination

    @property
    def shown_name(self) -> str:
        """What status and logs call this tap."""
        return self.name or str(self.destination)

    @property
    def selected(self) -> frozenset[MessageType]:
        """The message types wanted."""
        return frozenset().union(*(each.types for each in self.types))

    @property
    def selection(self) -> Selection:
        """Which of these it wants to see."""
        return Selection(
            zones=tuple(dict.fromkeys(name for zone in self.zones or () for name in zone.names)),
            clients=self.clients or (),
            qtypes=frozenset(self.qtypes or ()),
            rcodes=frozenset(self.rcodes or ()),
            protocols=frozenset(self.protocols or ()),
            slower_than_s=self.slower_than,
            only_errors=self.only == "errors",
            sample=self.sample.rate if self.sample else None,
            sample_text=self.sample.text if self.sample else "",
            always=frozenset(self.always),
        )

    @property
    def privacy(self) -> Privacy | None:
        """What it hides of them; None: nothing."""
        if not (self.anonymize or self.strip or self.qname):
            return None
        return Privacy(self.anonymize.how if self.anonymize else None, frozenset(self.strip), self.qname)

    @property
    def output(self) -> OutputOptions:
        """What taps of the old and the new configuration agree in when a reload keeps the connection."""
        return OutputOptions(
            name=self.shown_name,
            destination=self.destination,
            tls=TlsOptions(self.ca, self.cert, self.key, self.server_name, self.skip_verify),
            queue=self.queue,
            queue_octets=self.queue_bytes,
            overflow=self.overflow,
            flush_s=self.flush,
            batch=self.batch,
            keepalive_s=self.keepalive,
            connections=self.connections,
            stall_s=self.stall,
            spool=SpoolOptions(self.spool, self.spool_max or SPOOL_OCTETS) if self.spool else None,
            rotation=Rotation(self.rotate_size, self.rotate_every, self.keep, self.compress),
            listening=self.listen is not None,
        )

    def claims(self) -> Iterator[tuple[str, str]]:
        """What no other stanza may have: a name, a file, an address to listen on, a spool."""
        if self.socket is not None and self.socket.scheme == "file":
            yield "socket", f"file://{os.path.realpath(self.socket.path)}"
        elif self.listen is not None and self.listen.path:
            yield "listen", f"unix://{os.path.realpath(self.listen.path)}"
        elif self.listen is not None and self.listen.port:
            yield "listen", str(self.listen)
        elif self.name is None:
            yield ("socket" if self.listen is None else "listen"), str(self.destination)
        if self.name is not None:
            yield "name", self.name
        if self.spool is not None:
            yield "spool", os.path.realpath(self.spool)
