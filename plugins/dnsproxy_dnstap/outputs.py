"""Which kind of output a tap has, and which one it keeps across a reload."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.listening_output import ListeningOutput
from dnsproxy.dnstap.listening_tap import ListeningTap
from dnsproxy.dnstap.listening_tap import lease_key as listening_key
from dnsproxy.dnstap.relayed_listening import RelayedListeningOutput
from dnsproxy.dnstap.relayed_output import RelayedOutput
from dnsproxy.dnstap.socket_output import SocketOutput

if TYPE_CHECKING:
    from dnsproxy.dnstap.output import Output, OutputOptions
    from dnsproxy.plugin import Server


def lease_key(options: OutputOptions) -> Hashable:
    """What two taps agree in that have one output: where they listen, as nobody can do so twice, or everything."""
    return listening_key(options) if options.listening else ("dnstap", options)


def make_output(options: OutputOptions, server: Server) -> Output | ListeningTap:
    """To a collector, a file, or whoever dials in; with several workers the supervisor writes files, and listens.

    ListenError when an address to listen on cannot be had.
    """
    if options.listening:
        return RelayedListeningOutput(options, server.listen) if server.listen else ListeningOutput(options)
    if options.destination.scheme != "file":
        return SocketOutput(options)
    return RelayedOutput(options, server.relay) if server.relay else FileOutput(options)
