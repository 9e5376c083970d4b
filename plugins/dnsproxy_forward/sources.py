"""Where addresses of upstreams come from when they may change: names looked up again, files that are watched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from dnsproxy_forward.lookup import AGAIN_S, Lookup
from dnsproxy_forward.targets import Target, nameservers

log = logging.getLogger("dnsproxy")

LOOK_EVERY_S: Final = 0.5  # at a file: two looks that agree, so that a file half written is not taken for whole
Changed = Callable[["Source"], None]


class Known:
    """The last addresses of a target; outlives reloads, so that one while nobody answers forgets nothing."""

    def __init__(self) -> None:
        self.hosts: tuple[str, ...] = ()


class Source(Protocol):
    """The addresses of one target, as far as they are known."""

    target: Target
    hosts: tuple[str, ...]
    first: trio.Event  # there has been one look

    async def follow(self, changed: Changed) -> None:
        """Keep `hosts` true, and call `changed` after each change, until cancelled."""


class HostName:
    """A name, looked up again when what was said of it has run out; nobody answering, the last addresses stay."""

    def __init__(self, target: Target, known: Known, lookup: Lookup) -> None:
        self.target = target
        self.known = known
        self.hosts = known.hosts
        self.lookup = lookup
        self.first = trio.Event()
        self.is_missed = False

    async def follow(self, changed: Changed) -> None:
        """As `Source.follow`."""
        while True:
            wait_s = await self._look(changed)
            self.first.set()
            await trio.sleep(wait_s)

    async def _look(self, changed: Changed) -> float:
        """Look it up; how long that holds."""
        try:
            found = await self.lookup.resolve(self.target.host, self.target.port)
        except OSError as exc:
            self._miss(str(exc.args[-1]) if exc.args else str(exc))
            return AGAIN_S
        if self.is_missed:
            log.warning("forward: %s is resolved now", self.target.host)
            self.is_missed = False
        if set(found.addresses) != set(self.hosts):
            if self.hosts:
                log.info("forward: %s is %s now", self.target.host, ", ".join(found.addresses))
            self.hosts = self.known.hosts = found.addresses
            changed(self)
        return found.ttl_s

    def _miss(self, why: str) -> None:
        """Say it, the first time."""
        if not self.is_missed:
            self.is_missed = True
            log.warning("forward: cannot resolve %s: %s; %s", self.target.host, why, _instead(self.hosts))


class ResolvConf:
    """A file in the format of resolv.conf; when it is gone or names nobody, the last addresses stay."""

    def __init__(self, target: Target, known: Known, is_ours: Callable[[str], bool]) -> None:
        self.target = target
        self.known = known
        self.hosts = tuple(host for host in known.hosts if not is_ours(host))
        self.is_ours = is_ours
        self.first = trio.Event()
        self.told = ""  # what is wrong with it, once
        self.seen: tuple[str, ...] = ()
        self.read()

    def read(self) -> None:
        """Take what it says now."""
        self.seen = self._look()
        if self.seen:
            self.hosts = self.known.hosts = self.seen
        self.first.set()

    async def follow(self, changed: Changed) -> None:
        """As `Source.follow`."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            before, self.seen = self.seen, self._look()
            if self.seen and self.seen == before and self.seen != self.hosts:
                log.info("forward: %s names %s now", self.target.file, ", ".join(self.seen))
                self.hosts = self.known.hosts = self.seen
                changed(self)

    def _look(self) -> tuple[str, ...]:
        """Its nameservers; none when there is nothing to go by."""
        try:
            named = nameservers(Path(self.target.file).read_text("utf-8", "replace"))
        except OSError as exc:
            self._tell(exc.strerror or str(exc))
            return ()
        hosts = tuple(host for host in named if not self.is_ours(host))
        if hosts:
            self.told = ""
        elif named:
            self._tell(f"names only {', '.join(named)}, a listener of this very server")
        else:
            self._tell("names no nameserver")
        return hosts

    def _tell(self, why: str) -> None:
        if self.told != why:
            self.told = why
            log.warning("forward: %s: %s; %s", self.target.file, why, _instead(self.hosts))


def _instead(hosts: tuple[str, ...]) -> str:
    """What is done while a look gives nothing."""
    return f"staying with {', '.join(hosts)}" if hosts else "trying again"
