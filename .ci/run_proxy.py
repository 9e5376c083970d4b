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
    commands = [_dig(server, port) for server in servers[:1]]
    commands += [command for tap in _taps(table) for command in _watch(tap)]
    wanted = [command for command in commands if command]
    if wanted:
        yield "In another terminal:"
        yield from (f"  {command}" for command in wanted)
        yield "Ctrl-C ends the proxy."
    for folder in dict.fromkeys(filter(None, map(_closed_folder, _taps(table)))):
        yield f"You may not write into {folder}: for its taps, put a folder of your own into the configuration."


def _dig(server: Table, port: str) -> str:
    try:
        address = ListenAddress.from_toml(server["listen"][0])
    except (ValueError, TypeError, LookupError):
        return ""
    return f"dig @{address.host} -p {port if str(address.port) == PORT else address.port} www.example.test"


def _watch(tap: Table) -> list[str]:
    """The commands that show this tap: ours, and that of the program `dnstap`."""
    scheme, place = _place(tap)
    if scheme == "file":
        file = shlex.quote(_file_of_this_run(Path(place)))
        return [f"{_program()} tap read {file}  # what was recorded so far", f"dnstap -r {file} -q  # the same"]
    option = {"unix": "-u", "tcp": "-l"}.get(scheme)
    if option is None:
        return []
    where = f"{option} {shlex.quote(place)}"
    return [f"{_program()} tap listen {where}  # live, from when you start it", f"dnstap {where} -q  # the same"]


def _place(tap: Table) -> tuple[str, str]:
    """The scheme of a tap's socket and what follows it."""
    scheme, _, place = str(tap.get("socket", "")).rpartition("://")
    return scheme or ("unix" if place.startswith("/") else ""), place


def _closed_folder(tap: Table) -> Path | None:
    """The folder where a tap's file or socket cannot be made: another user's, as a fixed name below /tmp may be."""
    scheme, place = _place(tap)
    if scheme not in ("file", "unix"):
        return None
    folder = next((parent for parent in Path(place).parents if os.access(parent, os.F_OK)), Path("/"))
    return None if os.access(folder, os.W_OK | os.X_OK) else folder


def _program() -> str:
    """As one types it in this folder."""
    path = Path(sys.executable).with_name("dnsproxy")
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _file_of_this_run(path: Path) -> str:
    """A start never appends to what an earlier one wrote: it begins a new file beside it."""
    from dnsproxy.dnstap.stream_file import next_name

    try:
        return str(next_name(path))
    except OSError:  # nothing is there, or nothing that we may see
        return str(path)


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
