"""Keeps every stanza supplied with upstreams: leases them, and follows their names and files as they change."""

from __future__ import annotations

import logging
import resource
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio

from dnsproxy.address import Address
from dnsproxy.upstream.options import ENCRYPTED, TlsOptions, UpstreamOptions
from dnsproxy.upstream.tls import versions
from dnsproxy.upstream.upstream import Upstream
from dnsproxy_forward.choosing import Candidate
from dnsproxy_forward.lookup import BootstrapLookup, Lookup, SystemLookup
from dnsproxy_forward.sources import HostName, Known, ResolvConf, Source
from dnsproxy_forward.stanza import Stanza
from dnsproxy_forward.targets import Target

if TYPE_CHECKING:
    from collections.abc import Hashable

    from dnsproxy.plugin import Server
    from dnsproxy_forward.config import ForwardConfig, UpstreamTable

log = logging.getLogger("dnsproxy")

RESOLVE_WAIT_S: Final = 0.3  # start-up waits no longer for names of upstreams
Key = tuple[Target, tuple[tuple[str, int], ...]]  # what is looked up, and with which resolvers


class Supply:
    """The upstreams of a chain's stanzas."""

    def __init__(self, server: Server, work: Sequence[Stanza]) -> None:
        self.server = server
        self.work = tuple(work)
        self.sources: dict[Key, Source] = {}
        self.held: dict[Stanza, set[Hashable]] = {}  # keys of leases
        self.versions: dict[TlsOptions, tuple[object, ...]] = {}  # of their files, when they were first needed
        for stanza in work:
            for upstream in stanza.config.upstreams:
                self._watch(stanza.config, upstream.address)
        for stanza in work:
            self._lease(stanza)

    def _watch(self, config: ForwardConfig, target: Target) -> None:
        key = (target, config.bootstrap)
        if target.is_address or key in self.sources:
            return
        known = self.server.lease(("forward addresses", *key), Known)
        if target.file:
            self.sources[key] = ResolvConf(target, known, lambda host: self.server.listens_on(host, target.port, None))
        else:
            lookup: Lookup = SystemLookup()
            if config.bootstrap:
                lookup = BootstrapLookup(config.bootstrap, config.source_address)
            self.sources[key] = HostName(target, known, lookup)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow what may change; usable once all names have been looked up, or soon."""
        async with trio.open_nursery() as nursery:
            for source in self.sources.values():
                nursery.start_soon(source.follow, self._changed)
            with trio.move_on_after(RESOLVE_WAIT_S):
                for source in self.sources.values():
                    await source.first.wait()
            task_status.started()

    def _changed(self, source: Source) -> None:
        for stanza in self.work:
            if any(upstream.address == source.target for upstream in stanza.config.upstreams):
                self._lease(stanza)

    def _addresses(self, config: ForwardConfig, target: Target) -> list[Address]:
        """What is known of a target's addresses."""
        hosts: Sequence[str] = [target.host]
        if not target.is_address:
            hosts = self.sources[(target, config.bootstrap)].hosts
        return [Address.of(host, target.port) for host in hosts]

    def _lease(self, stanza: Stanza) -> None:
        """Have the stanza ask every address that is known, and give back what nobody asks any more."""
        candidates: dict[Upstream, Candidate] = {}
        keys: set[Hashable] = set()
        for table in stanza.config.upstreams:
            for address in self._addresses(stanza.config, table.address):
                options = upstream_options(stanza.config, table, address)
                try:
                    key = self._key(options)
                    upstream = self._upstream(stanza, options, key)
                except OSError as exc:  # a certificate that was there when the configuration was read
                    log.warning("upstream %s cannot be asked: %s", options.url, exc)
                    continue
                keys.add(key)
                candidates.setdefault(upstream, Candidate(upstream, table.weight, table.group))
        stanza.use(list(candidates.values()))
        self._share_descriptors()
        gone = self.held.get(stanza, set()) - keys
        self.held[stanza] = keys
        for key in gone.difference(*self.held.values()):
            self.server.give_back(key)

    def _share_descriptors(self) -> None:
        upstreams = {upstream for stanza in self.work for upstream in stanza.upstreams}
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for upstream in upstreams:
            upstream.limit_sockets(len(upstreams), descriptors)

    def _key(self, options: UpstreamOptions) -> Hashable:
        """What it is shared by: how it is asked, and what was in its files when this configuration took over."""
        tls = options.tls
        if tls is None:
            return ("upstream", options)
        if tls not in self.versions:
            self.versions[tls] = versions(tls)
        return ("upstream", options, self.versions[tls])

    def _upstream(self, stanza: Stanza, options: UpstreamOptions, key: Hashable) -> Upstream:
        """The one that is asked that way, shared by all stanzas that do."""
        server, timeout_s = self.server, stanza.config.timeout
        upstream = server.lease(key, lambda: Upstream(server, options, timeout_s))
        if stanza.taps is not None and stanza.taps.wants_times:
            upstream.is_watched = True
        upstream.timeout_s = max(upstream.timeout_s, timeout_s)
        return upstream


def upstream_options(config: ForwardConfig, table: UpstreamTable, address: Address) -> UpstreamOptions:
    """How the upstream of an element of `to` is asked, once its address is known."""
    scheme = table.address.scheme or ("tcp" if config.force_tcp else "udp" if config.prefer_udp else None)
    return UpstreamOptions(
        address=address,
        scheme=scheme,
        tls=config.tls(table) if scheme in ENCRYPTED else None,
        http=config.http(table),
        sources=config.source_address,
        mark=config.mark,
        idle_timeout=config.idle_timeout,
        max_age=config.max_age,
        health=config.health.options,
        edits=config.edits(scheme),
    )
