"""What `make run` does once the environment is there: says what to type next, then becomes the proxy."""

import os
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnsproxy.listen_address import ListenAddress

PORT = "5300"  # the one that PORT=... replaces

Table = dict[str, Any]


def main(config: str, port: str) -> None:
    command = [str(Path(sys.executable).with_name("dnsproxy")), "--config", config]
    if port != PORT:
        command += ["--replace-port", f"{PORT}:{port}"]
    for line in what_to_type(_table(config), port):
        print(line, file=sys.stderr)
    sys.stderr.flush()
    os.execv(command[0], command)  # so that signals reach the proxy, and its status is make's


def what_to_type(table: Table, port: str = PORT) -> Iterator[str]:
    """Lines for a second terminal; none if the file makes no sense, which the proxy itself will say better."""
    servers = _tables(table, "server") or [table]
    commands = [_dig(server, port) for server in servers[:1]] + [_watch(tap) for tap in _taps(table)]
    wanted = [command for command in commands if command]
    if wanted:
        yield "In another terminal:"
        yield from (f"  {command}" for command in wanted)
        yield "Ctrl-C ends the proxy."


def _dig(server: Table, port: str) -> str:
    try:
        address = ListenAddress.from_toml(server["listen"][0])
    except (ValueError, TypeError, LookupError):
        return ""
    return f"dig @{address.host} -p {port if str(address.port) == PORT else address.port} www.example.test"


def _watch(tap: Table) -> str:
    """The command that shows this tap."""
    socket = str(tap.get("socket", ""))
    scheme, _, place = socket.rpartition("://")
    if scheme == "file":
        return f"{_program()} tap read {shlex.quote(_file_of_this_run(Path(place)))}  # what was recorded so far"
    if scheme == "unix" or socket.startswith("/"):
        return f"{_program()} tap listen -u {shlex.quote(place)}  # live, from when you start it"
    if scheme == "tcp":
        return f"{_program()} tap listen -l {shlex.quote(place)}  # live, from when you start it"
    return ""


def _program() -> str:
    """As one types it in this folder."""
    path = Path(sys.executable).with_name("dnsproxy")
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _file_of_this_run(path: Path) -> str:
    """A start never appends to what an earlier one wrote: it begins a new file beside it."""
    if not path.exists():
        return str(path)
    from dnsproxy.dnstap.stream_file import next_name

    return str(next_name(path))


def _taps(table: Table) -> list[Table]:
    servers = _tables(table, "server")
    return [tap for owner in [table, *servers] for tap in _tables(owner, "dnstap")]


def _tables(owner: Table, name: str) -> list[Table]:
    value = owner.get(name, [])
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def _table(config: str) -> Table:
    try:
        return tomllib.loads(Path(config).read_text())
    except (OSError, ValueError):
        return {}


if __name__ == "__main__":
    main(*sys.argv[1:])
