"""The command `dnsproxy`: its options, its commands, its exit statuses."""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import sys
from collections.abc import Sequence

import dnsproxy

MAX_PORT = 65535
DONE, FAILED, WRONG_USAGE = 0, 1, 2
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit status."""
    try:
        return _dispatch(sys.argv[1:] if arguments is None else list(arguments))
    except BrokenPipeError:  # `dnsproxy plugins | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["tap"]:  # has options of its own
        return _tap(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "status":
        return _status(options)
    if options.command == "plugins":
        return _plugins(options.name)
    if options.config is None:
        parser.error("--config FILE or a command is needed")
    return _run(options.config, options.check, options.replace_port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dnsproxy", description="A DNS forwarding proxy that shows everything it does.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=version_text())
    parser.add_argument("--config", metavar="FILE", help="run in the foreground with this configuration")
    parser.add_argument("--check", action="store_true", help="only validate the configuration")
    parser.add_argument(
        "--replace-port", metavar="OLD:NEW", type=_port_pair, default={}, help="listen on NEW where the file says OLD"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_status(commands)
    plugins = commands.add_parser("plugins", help="the plugins found, or one of them", allow_abbrev=False)
    plugins.add_argument("name", metavar="NAME", nargs="?", help="show its options and defaults")
    commands.add_parser("tap", help="the receiving side of dnstap")
    return parser


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="what a running proxy is doing", allow_abbrev=False)
    where = status.add_mutually_exclusive_group()
    where.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="the running proxy's configuration")
    where.add_argument("--admin", metavar="SOCKET", help="the running proxy's admin socket")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument("--check", action="store_true", help="print what is down; 1 if anything is")


def version_text() -> str:
    """`dnsproxy 0.1.0 (interpreted, Python 3.11.2)`."""
    build = "compiled" if dnsproxy.COMPILED else "interpreted"
    return f"dnsproxy {dnsproxy.__version__} ({build}, Python {platform.python_version()})"


def _port_pair(text: str) -> dict[int, int]:
    old, _, new = text.partition(":")
    if not all(port.isdecimal() and int(port) <= MAX_PORT for port in (old, new)):
        raise argparse.ArgumentTypeError(f'"{text}" is not OLD:NEW, two ports')
    return {int(old): int(new)}


def _run(file: str, check: bool, ports: dict[int, int]) -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server can reload
    from dnsproxy import config  # here, as the imports below: each command loads what it needs

    try:
        text = config.read_text(file)
        configuration = config.parse(text, file, ports)
    except config.ConfigErrors as exc:
        return _fail(str(exc), WRONG_USAGE)
    if check:
        from dnsproxy.plugin_help import summary

        print(f"{file}: ok", *summary(configuration), sep="\n")
        return DONE
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    if configuration.workers > 1:
        from dnsproxy.workers import supervisor

        return supervisor.run(text, configuration, ports)
    from dnsproxy import server

    return server.run(configuration, lambda: config.load(file, ports))


def _tap(arguments: Sequence[str]) -> int:
    from dnsproxy.tap.cli import main as tap

    return tap(arguments)


def _plugins(name: str | None) -> int:
    from dnsproxy.discovery import PluginError, find_plugins
    from dnsproxy.plugin_help import description, overview
    from dnsproxy.readers import suggestion

    plugins = find_plugins()
    if name is None:
        print(*overview(plugins), sep="\n")
        return DONE
    if name not in plugins:
        return _fail(f'dnsproxy: no plugin "{name}" is installed; {suggestion(name, plugins)}', WRONG_USAGE)
    try:
        print(*description(plugins[name]), sep="\n")
    except PluginError as exc:
        return _fail(f"dnsproxy: plugin {name}: {exc}", FAILED)
    return DONE


def _status(options: argparse.Namespace) -> int:
    from dnsproxy import status
    from dnsproxy.admin_client import NoAnswer, ask
    from dnsproxy.config_errors import ConfigErrors

    try:
        answer = ask(_admin_paths(options))
    except ConfigErrors as exc:
        return _fail(str(exc), WRONG_USAGE)
    except NoAnswer as exc:
        return _fail(f"dnsproxy: {exc}", FAILED)
    found = status.problems(answer) if options.check else []
    if options.json:
        print(json.dumps(answer, indent=2))
    elif options.check:
        print(*(found or [status.well(answer)]), sep="\n")
    else:
        print(status.tables(answer))
    return FAILED if found else DONE


def _admin_paths(options: argparse.Namespace) -> list[str]:
    """Where the running proxy may be asked; ConfigErrors when the configuration does not tell."""
    from dnsproxy.settings import admin_candidates

    if options.admin:
        return [options.admin]
    if options.config:
        from dnsproxy.config import admin_path

        path = admin_path(options.config)
        if path:
            return [path]
    return admin_candidates(os.environ)


def _fail(line: str, status: int) -> int:
    print(line, file=sys.stderr)
    return status
