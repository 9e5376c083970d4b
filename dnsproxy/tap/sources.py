"""SOURCE… of a command line: sockets on which producers are awaited, and producers that are dialled; all at once."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

import trio

from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions
from dnsproxy.dnstap.server_context import ServerContext
from dnsproxy.dnstap.session import reason_of
from dnsproxy.tap.common import Parser, add_max_frame, count, duration
from dnsproxy.tap.damage import tell
from dnsproxy.tap.descriptors import allow_descriptors
from dnsproxy.tap.dialled import DialledSource
from dnsproxy.tap.errors import Failure, WrongUsage
from dnsproxy.tap.listening import ListeningSource
from dnsproxy.tap.producer import Consumer, Limits
from dnsproxy.tap.producers import Producers
from dnsproxy.tap.trust import trust_from

OTHER_DESCRIPTORS: Final = 200  # than clients: files that are closed and compressed, destinations
UNIX_ALL: Final = 0o777  # what a socket gets unless the umask takes from it


@dataclass(frozen=True)
class Place:
    """Where producers are: they dial it, or we do."""

    url: Destination
    is_dialled: bool = False


def add_sources(parser: Parser) -> None:
    """Options SOURCE…, as `sources`, and what producers may do: for `Sources`."""
    group = parser.add_argument_group("sources, any number")
    group.add_argument(
        "-u", dest="sources", metavar="PATH", action="append", type=_unix, help="listen on a unix socket"
    )
    group.add_argument(
        "-l",
        dest="sources",
        metavar="[tcp://|tls://]HOST:PORT",
        action="append",
        type=_tcp,
        help="listen on TCP or TLS",
    )
    group.add_argument(
        "--connect", dest="sources", metavar="URL", action="append", type=_dialled, help="dial a producer that listens"
    )
    group.add_argument("--tls-cert", metavar="FILE", help="PEM file of TLS listeners, the chain in it")
    group.add_argument("--tls-key", metavar="FILE", help="its key, if not in the same file")
    group.add_argument("--client-ca", metavar="FILE", help="PEM file: clients need a certificate that it has signed")
    group.add_argument("--socket-mode", metavar="MODE", type=_mode, help="of unix sockets: 660 (default: the umask's)")
    group.add_argument("--max-clients", metavar="N", type=count, default=1000, help="at once (default: 1000)")
    group.add_argument(
        "--handshake-timeout", metavar="TIME", type=duration, default=5.0, help="until START (default: 5s)"
    )
    group.add_argument("--idle-timeout", metavar="TIME", type=duration, help="silence after START (default: none)")
    add_max_frame(parser)


def limits_from(options: argparse.Namespace) -> Limits:
    """What producers may do."""
    return Limits(options.max_frame, options.max_clients, options.handshake_timeout, options.idle_timeout)


class Sources:
    """All sources of a command line: bound when made, or Failure; WrongUsage when there are none, or they do not fit.

    A context manager: at its end nobody listens any more.

    What comes goes to `consumer`; `producers` has the numbers.
    """

    def __init__(self, options: argparse.Namespace, consumer: Consumer) -> None:
        places: list[Place] = options.sources or []
        if not places:
            raise WrongUsage("no source; expected -u PATH, -l HOST:PORT or --connect URL")
        self.producers = Producers(limits_from(options), consumer)
        self._tls_files = _tls_files(options, places)
        self._tls = _server_context(self._tls_files) if self._tls_files else None
        allow_descriptors(options.max_clients + OTHER_DESCRIPTORS)
        self._all: list[ListeningSource | DialledSource] = []
        trust, mode = trust_from(options), _unix_mode(options.socket_mode)
        with ExitStack() as stack:
            for place in places:
                source = (
                    DialledSource(place.url, trust, self.producers)
                    if place.is_dialled
                    else ListeningSource(place.url, mode, self._tls, self.producers)
                )
                stack.callback(source.close)
                self._all.append(source)
            stack.pop_all()  # all are bound: `run` closes them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell that we are ready, and serve until `stop` was called and everybody is gone."""
        async with trio.open_nursery() as nursery:
            for source in self._all:
                nursery.start_soon(source.run)
            tell(f"ready {self}")
            task_status.started()

    def stop(self) -> None:
        """Let nobody in any more, take what producers have sent until now, and end `run`."""
        self._close()
        self.producers.stop()

    def renew_certificate(self) -> None:
        """Read the listeners' certificate again for the next handshake."""
        if self._tls is not None and self._tls_files is not None:
            self._tls.expire(self._tls_files)

    def _close(self) -> None:
        for source in self._all:
            source.close()

    def __str__(self) -> str:
        """Their addresses, with the ports that were given for 0."""
        return " ".join(map(str, self._all))

    def __repr__(self) -> str:
        return f"<Sources {self}>"


def _tls_files(options: argparse.Namespace, places: list[Place]) -> TlsOptions | None:
    """The files of TLS listeners; None where there is none."""
    is_needed = any(place.url.scheme == "tls" and not place.is_dialled for place in places)
    if is_needed and not options.tls_cert:
        raise WrongUsage("tls:// takes --tls-cert")
    if not is_needed and (options.tls_cert or options.tls_key or options.client_ca):
        raise WrongUsage("--tls-cert, --tls-key and --client-ca take -l tls://HOST:PORT")
    return TlsOptions(options.client_ca, options.tls_cert, options.tls_key) if is_needed else None


def _server_context(files: TlsOptions) -> ServerContext:
    try:
        return ServerContext(files)
    except OSError as exc:
        raise Failure(f"the certificate cannot be used: {reason_of(exc)}") from exc


def _unix_mode(mode: int | None) -> int:
    if mode is not None:
        return mode
    umask = os.umask(0)
    os.umask(umask)
    return UNIX_ALL & ~umask


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= UNIX_ALL:
        raise argparse.ArgumentTypeError(f'"{text}" is no mode; expected octal digits such as 660')
    return mode


def _unix(path: str) -> Place:
    if not path or "\0" in path:
        raise argparse.ArgumentTypeError("a unix socket has a path")
    return Place(Destination("unix", path=path))


def _tcp(text: str) -> Place:
    url = _parsed(ListenUrl.from_toml, text if "://" in text else f"tcp://{text}")
    if url.scheme == "unix":
        raise argparse.ArgumentTypeError(f'"{text}" is no HOST:PORT; unix sockets take -u PATH')
    return Place(url)


def _dialled(text: str) -> Place:
    url = _parsed(Destination.from_toml, text)
    if url.scheme == "file":
        raise argparse.ArgumentTypeError(f'"{text}" is no socket; files are read by `dnsproxy tap read`')
    return Place(url, is_dialled=True)


def _parsed(parse: Callable[[str], Destination], text: str) -> Destination:
    try:
        return parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
