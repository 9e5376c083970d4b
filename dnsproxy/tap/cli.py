"""The command `dnsproxy tap`: finds the command that is meant, and turns however it ends into an exit status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Final

from dnsproxy.tap.common import Parser
from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import Failure, Stopped, WrongUsage

DONE, FAILED, WRONG_USAGE, BY_SIGNAL = 0, 1, 2, 128
PACKAGE: Final = "dnsproxy.tap.commands"
COMMANDS: Final = {
    "listen": "prints what producers send",
    "read": "prints what is in files",
    "follow": "prints what is being added to files",
    "record": "writes what producers send to files",
    "relay": "sends on what producers send",
    "send": "replays files to a collector",
    "convert": "Frame Streams to and from JSON lines, pcap and Parquet; repairs files",
    "check": "whether a collector is alive, and its files are fresh",
    "top": "a live view",
    "stats": "a report on files",
    "sql": "SQL over files",
    "trace": "the messages of each client query put together",
    "diff": "compares two recordings of the same queries",
}
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(arguments: Sequence[str]) -> int:
    """Run `dnsproxy tap ARGUMENTS…`; the result is its exit status.

    A command is a module of `commands`, imported when it is called: `add_options(parser)`, then `run(options)`, which
    returns the status. Unless the command sets other handlers, a signal that ends it raises Stopped in it.
    """
    command = arguments[0] if arguments else ""
    if command in {"-h", "--help"}:
        sys.stdout.write(overview())
        return DONE
    if command not in COMMANDS:
        what = f'there is no command "{command}"' if command else "which command?"
        tell(f"dnsproxy tap: {what}; expected {', '.join(COMMANDS)}")
        return WRONG_USAGE
    with _raising_stopped():
        return _status_of(command, list(arguments[1:]))


def overview() -> str:
    """What `dnsproxy tap --help` prints."""
    lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
    usage = "usage: dnsproxy tap COMMAND …\n\nThe receiving side of dnstap, for any producer.\n\n"
    return usage + "\n".join(lines) + "\n\n`dnsproxy tap COMMAND --help` has the options of each.\n"


def _status_of(command: str, arguments: list[str]) -> int:
    try:
        return _run(command, arguments)
    except WrongUsage as exc:
        tell(f"dnsproxy tap {command}: {exc}")
        return WRONG_USAGE
    except Failure as exc:
        tell(f"dnsproxy tap {command}: {exc}")
        return FAILED
    except BrokenPipeError:  # `dnsproxy tap read FILE | head`
        return DONE
    except OSError as exc:
        tell(f"dnsproxy tap {command}: {exc.filename or ''}{': ' if exc.filename else ''}{exc.strerror or exc}")
        return FAILED
    except Stopped as exc:
        return BY_SIGNAL + exc.signal
    except SystemExit as exc:  # --help
        return int(exc.code or DONE)


def _run(command: str, arguments: list[str]) -> int:
    name = f"{PACKAGE}.{command}"
    if find_spec(name) is None:
        raise WrongUsage("not available yet in this version")
    module = import_module(name)
    parser = Parser(command, COMMANDS[command])
    module.add_options(parser)
    status: int = module.run(parser.parse_intermixed_args(arguments))
    return status


@contextmanager
def _raising_stopped() -> Iterator[None]:
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup has it
    before = {number: signal.signal(number, _stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(number)
