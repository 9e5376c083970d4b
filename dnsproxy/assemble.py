"""From a file's tables to its `Configuration`: servers, their plugins' stanzas, and what must hold between them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dnsproxy.config_errors import ConfigError, ConfigErrors, InFile, path_text
from dnsproxy.convert import is_table, keys_of, read_table
from dnsproxy.discovery import Found, PluginError, find_plugins, in_short
from dnsproxy.listen_address import ListenAddress, host_port
from dnsproxy.options import OptionError, OptionErrors, described, shown
from dnsproxy.readers import suggestion
from dnsproxy.settings import (
    DEFAULT_LISTEN,
    AdminSocket,
    CheckContext,
    Configuration,
    PluginConfig,
    ProcessKeys,
    ServerConfig,
    ServerKeys,
    default_admin_path,
)
from dnsproxy.toml_lines import KeyPath
from dnsproxy.wire import name_to_text

T = TypeVar("T")
Table = dict[str, Any]
SERVER = "server"
PLAIN_KEYS = {*keys_of(ServerKeys), *keys_of(ProcessKeys)} - {"limits", "metrics"}  # those that are no tables
BLOCK_ONLY = "zones"


@dataclass
class _Stanza:
    """One table of a plugin, and what was read from it; None when it has errors."""

    path: KeyPath
    config: Any


@dataclass
class _Tables:
    """All tables of one plugin in a server, in the file's order."""

    name: str
    plugin: type[Any]
    stanzas: list[_Stanza]


@dataclass
class _Block:
    """One server as far as it could be read."""

    path: KeyPath
    table: Table
    keys: ServerKeys
    tables: list[_Tables] = field(default_factory=list)

    @property
    def zones(self) -> tuple[bytes, ...]:
        return tuple(dict.fromkeys(name for zone in self.keys.zones for name in zone.names))

    def key(self, name: str) -> KeyPath:
        return (*self.path, name)


def assemble(table: Table, in_file: InFile, folder: Path) -> Configuration:
    """Check a whole file; ConfigErrors holds everything that is wrong with it."""
    assembly = _Assembly(in_file, folder)
    configuration = assembly.configuration(table)
    if assembly.errors or configuration is None:
        raise ConfigErrors(assembly.errors)
    return configuration


class _Assembly:
    def __init__(self, in_file: InFile, folder: Path) -> None:
        self.in_file = in_file
        self.folder = folder
        self.plugins = find_plugins()
        self.errors: list[ConfigError] = []
        self._loaded: dict[str, type[Any] | None] = {}
        self._claims: dict[str, KeyPath] = {}

    def configuration(self, table: Table) -> Configuration | None:
        process = self._read(ProcessKeys, _only(table, ProcessKeys), ())
        blocks = list(self._blocks(table))
        self._check_listeners(blocks)
        metrics = process.metrics.listen if process and process.metrics else ()
        self._check_metrics(metrics, table, blocks)
        for block in blocks:
            self._check_plugins(block)
        servers = tuple(self._server(block) for block in blocks)
        if process is None or self.errors:
            return None
        admin = _admin_socket(process.admin)
        return Configuration(self.in_file.file, self.folder, servers, process.workers, admin, process.limits, metrics)

    # tables

    def _blocks(self, table: Table) -> Iterator[_Block]:
        rest = {name: value for name, value in table.items() if name not in keys_of(ProcessKeys)}
        if BLOCK_ONLY in rest:
            self._error((BLOCK_ONLY,), "stands at top level; expected it inside a [[server]] block")
            del rest[BLOCK_ONLY]
        if SERVER not in rest:
            yield self._block((), rest, [])
            return
        blocks = self._stanza_tables((SERVER,), rest.pop(SERVER))
        shared = list(self._shared(rest))
        for path, block in blocks:
            yield self._block(path, block, shared)

    def _shared(self, top: Table) -> Iterator[_Tables]:
        """Plugins whose top-level tables serve every block; whatever else is there belongs into one."""
        for name, value in top.items():
            if name in keys_of(ServerKeys):
                self._error((name,), "stands beside [[server]] blocks; expected it inside one of them")
            elif name not in self.plugins:
                self._unknown((), name, value, [SERVER, *keys_of(ProcessKeys), *self.plugins])
            elif (plugin := self._plugin(name, (name,))) is None:
                continue
            elif plugin.shared_at_top:
                yield self._tables(name, plugin, (), value)
            else:
                self._error((name,), f"stands beside [[server]] blocks; expected {shown('server.' + name)} inside one")

    def _block(self, path: KeyPath, table: Table, shared: list[_Tables]) -> _Block:
        keys = self._read(ServerKeys, _only(table, ServerKeys), path) or ServerKeys()
        block = _Block(path, table, keys, [_Tables(each.name, each.plugin, list(each.stanzas)) for each in shared])
        for name, value in table.items():
            if name in keys_of(ServerKeys):
                continue
            if path and name in keys_of(ProcessKeys):
                self._error((*path, name), "stands inside a [[server]] block; expected it at top level")
            elif name not in self.plugins:
                places = [] if path else [SERVER, *keys_of(ProcessKeys)]
                self._unknown(path, name, value, [*places, *keys_of(ServerKeys), *self.plugins])
            elif (plugin := self._plugin(name, (*path, name))) is not None:
                self._add(block, self._tables(name, plugin, path, value))
        return block

    def _tables(self, name: str, plugin: type[Any], path: KeyPath, value: object) -> _Tables:
        stanzas = []
        for stanza_path, table in self._stanza_tables((*path, name), value):
            stanza = _Stanza(stanza_path, None)
            stanzas.append(stanza)
            with self._blaming_the_plugin(stanza_path):
                stanza.config = self._read(plugin.Config, table, stanza_path)
                self._claim(stanza_path, stanza.config)
        return _Tables(name, plugin, stanzas)

    def _add(self, block: _Block, tables: _Tables) -> None:
        shared = next((each for each in block.tables if each.name == tables.name), None)
        if shared is None:
            block.tables.append(tables)
        else:
            shared.stanzas += tables.stanzas

    def _stanza_tables(self, path: KeyPath, value: object) -> list[tuple[KeyPath, Table]]:
        """The tables under a name, `[name]` or several `[[name]]`, each with its path."""
        if isinstance(value, dict):
            return [(path, value)]
        if not isinstance(value, list) or not value or not all(isinstance(element, dict) for element in value):
            what = "is an empty list" if value == [] else described(value)
            self._error(path, f"{what}; expected a table, [{path[-1]}] or [[{path[-1]}]]")
            return []
        return [((*path, number), element) for number, element in enumerate(value)]

    def _read(self, cls: type[T], table: Table, path: KeyPath) -> T | None:
        outcome = read_table(cls, table, self.folder)
        self.errors += [self.in_file.error(error.below(*path)) for error in outcome.errors]
        return outcome.value

    def _plugin(self, name: str, path: KeyPath) -> type[Any] | None:
        """The plugin's class; None, and one error, when it cannot be had."""
        if name not in self._loaded:
            self._loaded[name] = self._load(self.plugins[name], path)
        return self._loaded[name]

    def _load(self, found: Found, path: KeyPath) -> type[Any] | None:
        try:
            return found.load()
        except PluginError as exc:
            self._error(path, f"{exc}; expected a plugin that can be used")
            return None

    # what must hold between tables

    def _check_listeners(self, blocks: list[_Block]) -> None:
        """No address twice, unless by servers for different zones."""
        taken: dict[str, list[tuple[_Block, int]]] = {}
        for block in blocks:
            for index, text, urls in _listeners(block):
                for url in urls:
                    clash = self._clash(block, taken.get(url, []))
                    if clash:
                        self._error(block.key("listen"), f"{text} {clash}", index)
                        break
                place = block.key("listen") if index is None else (*block.key("listen"), index)
                for url in urls:
                    taken.setdefault(url, []).append((block, self.in_file.line(place)))

    def _check_metrics(self, addresses: tuple[ListenAddress, ...], table: Table, blocks: list[_Block]) -> None:
        """Metrics are served where no query arrives."""
        listening = [address for block in blocks for address in block.keys.listen]
        for index, address in enumerate(addresses):
            if address.port and any(each.covers(address.host, address.port, "tcp") for each in listening):
                in_list = index if isinstance(table["metrics"].get("listen"), list) else None
                text = host_port(address.host, address.port)
                self._error(("metrics", "listen"), f"{text} is where queries arrive; expected another address", in_list)

    def _clash(self, block: _Block, others: list[tuple[_Block, int]]) -> str:
        for other, line in others:
            if other is block:
                return f"is listened on already, on line {line}; expected each address once"
            common = next((zone for zone in block.zones if zone in other.zones), None)
            if common:
                who = f"{path_text(other.path)}, on line {line},"
                return f"is where {who} serves {name_to_text(common)} already; expected another address or other zones"
        return ""

    def _check_plugins(self, block: _Block) -> None:
        """No more stanzas than a plugin takes, and what its own `check` finds across them."""
        context = CheckContext(block.keys.listen, block.zones, self.folder)
        for tables in block.tables:
            if not tables.plugin.many:
                for stanza in tables.stanzas[1:]:
                    self._error(stanza.path, f"is one too many; expected one [{tables.name}] in a server")
            good = [stanza for stanza in tables.stanzas if stanza.config is not None]
            with self._blaming_the_plugin(good[0].path if good else block.path):
                for error in _found_by_check(tables.plugin, [stanza.config for stanza in good], context):
                    path = good[min(error.stanza, len(good) - 1)].path
                    self.errors.append(self.in_file.error(error.below(*path)))

    def _claim(self, path: KeyPath, config: Any) -> None:
        """Keep what only one stanza of the file may have: `Config.claims()` yields (key, what it is)."""
        if config is None or not hasattr(config, "claims"):
            return
        for key, claimed in config.claims():
            first = self._claims.setdefault(claimed, (*path, key))
            if first != (*path, key):
                line = self.in_file.line(first)
                self._error((*path, key), f"{shown(claimed)} is in use on line {line} already; expected another")

    def _server(self, block: _Block) -> ServerConfig:
        tables = self._in_chain_order(block)
        plugins = tuple(
            PluginConfig(each.name, each.plugin, tuple(stanza.config for stanza in each.stanzas)) for each in tables
        )
        return ServerConfig(block.keys.listen, block.zones, block.keys.allow, block.keys.order, plugins)

    def _in_chain_order(self, block: _Block) -> list[_Tables]:
        """By stage, within a stage by the file; those that `order` names change places among themselves."""
        tables = sorted(block.tables, key=lambda each: self.in_file.line(each.stanzas[0].path) if each.stanzas else 0)
        tables.sort(key=lambda each: int(each.plugin.stage))
        by_name = {each.name: each for each in tables}
        for index, name in enumerate(block.keys.order):
            if name not in by_name:
                what = "has no table here" if name in self.plugins else "is no plugin"
                self._error(block.key("order"), f"{shown(name)} {what}; {suggestion(name, by_name)}", index)
        named = iter([by_name[name] for name in block.keys.order if name in by_name])
        return [next(named) if each.name in block.keys.order else each for each in tables]

    # errors

    @contextmanager
    def _blaming_the_plugin(self, path: KeyPath) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as exc:  # noqa: BLE001  a third party's code, and a reload must live on
            *_, at = traceback.extract_tb(exc.__traceback__)
            where = f"{Path(at.filename).name}:{at.lineno}"
            self._error(path, f"its plugin fails: {in_short(exc)} ({where}); expected a plugin that can be used")

    def _unknown(self, path: KeyPath, name: str, value: object, known: Iterable[str]) -> None:
        if is_table(value):
            tables = (each for each in known if each not in PLAIN_KEYS)
            expected = suggestion(name, tables)
            why = "" if expected.startswith("did you mean") else ", and no plugin of that name is installed"
            self._error((*path, name), f"unknown table {shown(name)}{why}; {expected}")
        else:
            self._error((*path, name), f"unknown key {shown(name)}; {suggestion(name, known)}")

    def _error(self, path: KeyPath, message: str, index: int | None = None) -> None:
        """Note an error at a key; `index` is the bad element of its list."""
        self.errors.append(self.in_file.error(OptionError("", message, index).below(*path)))


def _only(table: Table, cls: type) -> Table:
    return {name: value for name, value in table.items() if name in keys_of(cls)}


def _listeners(block: _Block) -> Iterator[tuple[int | None, str, list[str]]]:
    """What a block listens on: (index in its list, how it is written, URLs). Port 0 never clashes."""
    given = block.table.get("listen")
    if given is None:
        yield None, "the default address", [url for address in DEFAULT_LISTEN for url in address.urls]
    for index, text in enumerate(given if isinstance(given, list) else ()):
        try:
            address = ListenAddress.from_toml(text) if isinstance(text, str) else None
        except ValueError:
            continue  # reported where the list was read
        if address and address.port:
            yield index, shown(text), list(address.urls)


def _found_by_check(plugin: type[Any], stanzas: list[Any], context: CheckContext) -> list[OptionError]:
    if not stanzas:
        return []
    try:
        return list(plugin.check(stanzas, context))
    except OptionErrors as exc:
        return list(exc.errors)
    except OptionError as exc:
        return [exc]


def _admin_socket(path: str | bool | None) -> AdminSocket | None:
    if isinstance(path, str):
        return AdminSocket(path, required=True)
    default = None if path is False else default_admin_path(os.environ, os.geteuid() == 0)
    return AdminSocket(default, required=False) if default else None
