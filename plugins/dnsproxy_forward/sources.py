"""Where addresses of upstreams come from when they may change: names looked up again, files that are watched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import trio

from dnsproxy_forward.lookup import Lookup
from dnsproxy_forward.targets import Target, nameservers

log = logging.getLogger("dnsproxy")

AGAIN_S: Final = 5.0  # after a lookup that failed
LOOK_EVERY_S: Final = 0.5  # at a file: two looks that agree, so that a file half written is not taken for whole
Changed = Callable[["Source"], None]


class Source(Protocol):
    """The addresses of one target, as far as they are known."""

    target: Target
    hosts: tuple[str, ...]
    first: trio.Event  # there has been one look

    async def follow(self, changed: Changed) -> None:
        """Keep `hosts` true, and call `changed` after each change, until cancelled."""


class HostName:
    """A name, looked up again when what was said of it has run out; nobody answering, the last addresses stay."""

    def __init__(self, target: Target, lookup: Lookup) -> None:
        self.target = target
        self.lookup = lookup
        self.hosts: tuple[str, ...] = ()
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
            self.hosts = found.addresses
            changed(self)
        return found.ttl_s

    def _miss(self, why: str) -> None:
        """Say it, the first time."""
        if not self.is_missed:
            self.is_missed = True
            what = "trying again" if not self.hosts else f"staying with {', '.join(self.hosts)}"
            log.warning("forward: cannot resolve %s: %s; %s", self.target.host, why, what)


class ResolvConf:
    """A file in the format of resolv.conf; when it is gone or names nobody, the last addresses stay."""

    def __init__(self, target: Target, is_ours: Callable[[str], bool]) -> None:
        self.target = target
        self.is_ours = is_ours
        self.hosts: tuple[str, ...] = ()
        self.first = trio.Event()
        self.told = ""  # what is wrong with it, once
        self.seen: tuple[str, ...] = ()
        self.read()

    def read(self) -> None:
        """Take what it says now."""
        self.seen = self._look()
        if self.seen:
            self.hosts = self.seen
        self.first.set()

    async def follow(self, changed: Changed) -> None:
        """As `Source.follow`."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            before, self.seen = self.seen, self._look()
            if self.seen and self.seen == before and self.seen != self.hosts:
                log.info("forward: %s names %s now", self.target.file, ", ".join(self.seen))
                self.hosts = self.seen
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
            what = "trying again" if not self.hosts else f"staying with {', '.join(self.hosts)}"
            log.warning("forward: %s: %s; %s", self.target.file, why, what)
