"""Plugins that do nothing but have options of every kind, found in place of the installed ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Literal

import pytest

from dnsproxy.config import (
    CheckContext,
    Duration,
    FilePath,
    OptionError,
    OptionErrors,
    ReadableFile,
    Size,
    Zone,
    option,
    split_host_port,
)
from dnsproxy.discovery import Found
from dnsproxy.plugin import Plugin, Stage

ROOT = Zone((b"\0",))


@dataclass(frozen=True)
class Target:
    expected: ClassVar[str] = 'an upstream such as "192.0.2.1"'

    host: str
    port: int

    @classmethod
    def from_toml(cls, value: str) -> "Target":
        host, port = split_host_port(value)
        return cls(host, 53 if port is None else port)


@dataclass(frozen=True)
class ForwardConfig:
    to: tuple[Target, ...] = option(help="whom to ask")
    from_: tuple[Zone, ...] = option((ROOT,), one_or_more=True, help="for which names")
    except_: tuple[Zone, ...] = option((), help="but not for these")
    policy: Literal["random", "round_robin", "sequential"] = option("random", help="which upstream is first")
    timeout: Duration = option(2.0, minimum=0.001, help="per attempt")
    deadline: Duration = option(4.5, minimum=0.001, help="per query")
    max_attempts: int | None = option(None, minimum=1, maximum=100, default_text="twice the upstreams")
    force_tcp: bool = option(False)

    def __post_init__(self) -> None:
        if self.deadline < 0.01:
            raise OptionError("deadline", "is below 10ms; expected more than a round trip")


class Forward(Plugin):
    """Asks upstreams."""

    stage = Stage.FORWARD
    Config = ForwardConfig
    many = True

    @classmethod
    def check(cls, stanzas: Sequence[ForwardConfig], context: CheckContext) -> Iterator[OptionError]:
        for number, stanza in enumerate(stanzas):
            for index, target in enumerate(stanza.to):
                if context.listens_on(target.host, target.port):
                    yield OptionError("to", "is a loop; expected another server", index, stanza=number)


@dataclass(frozen=True)
class DnstapConfig:
    socket: str = option(help="where to")
    full: bool = option(False)
    queue_bytes: Size = option(2**24)
    ca: ReadableFile | None = option(None)
    cert: str | None = option(None)
    key: str | None = option(None)

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise OptionErrors([OptionError("key", "needs `cert` and `key`; expected both")])

    def claims(self) -> Iterator[tuple[str, str]]:
        if self.socket.startswith("file://"):
            yield "socket", self.socket


class Dnstap(Plugin):
    """Shows."""

    stage = Stage.OBSERVE
    Config = DnstapConfig
    many = True
    shared_at_top = True


@dataclass(frozen=True)
class RecordsConfig:
    zones: tuple[str, ...] = option(help="zones")
    data: str | None = option(None)
    file: FilePath | None = option(None)

    def __post_init__(self) -> None:
        lines = (self.data or "").split("\n")
        bad = [number for number, line in enumerate(lines) if "bad" in line]
        if bad:
            raise OptionErrors(OptionError("data", "is no record; expected one", line=number) for number in bad)


class Records(Plugin):
    """Answers."""

    stage = Stage.LOCAL
    Config = RecordsConfig


@dataclass(frozen=True)
class CacheConfig:
    size: Size = option(2**24, minimum=1024)
    serve_stale: Duration | Literal[False] = option(False)


class Cache(Plugin):
    """Remembers."""

    stage = Stage.CACHE
    Config = CacheConfig


@dataclass(frozen=True)
class FakeFound(Found):
    """A plugin that needs no import."""

    plugin: type[Any] = Plugin

    def load(self) -> type[Any]:
        return self.plugin


def found(name: str, plugin: type[Any]) -> Found:
    return FakeFound(name, (EntryPoint(name, f"tests:{plugin.__name__}", "dnsproxy.plugins"),), plugin)


def fake_plugins() -> dict[str, Found]:
    plugins = {"cache": Cache, "dnstap": Dnstap, "forward": Forward, "records": Records}
    broken = Found("broken", (EntryPoint("broken", "nowhere_at_all:Plugin", "dnsproxy.plugins"),))
    return {"broken": broken, **{name: found(name, plugin) for name, plugin in plugins.items()}}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration files see these plugins."""
    monkeypatch.setattr("dnsproxy.assemble.find_plugins", fake_plugins)
