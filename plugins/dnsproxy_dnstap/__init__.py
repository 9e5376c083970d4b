"""The `dnstap` plugin: shows every query and answer, on both sides of the proxy, to any number of taps."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.output import Output, SocketOutput
from dnsproxy.dnstap.recorder import Recorder
from dnsproxy.dnstap.relayed_output import Relay, RelayedOutput
from dnsproxy.dnstap.schema import ALL_TYPES
from dnsproxy.dnstap.sink import FrameForm
from dnsproxy.plugin import Observer, Plugin, Server, Tap
from dnsproxy_dnstap.options import TapConfig

if TYPE_CHECKING:
    from dnsproxy.dnstap.events import Event
    from dnsproxy.message import Query, Response

__all__ = ["Dnstap", "TapConfig"]

log = logging.getLogger("dnsproxy")


class Dnstap(Observer, Tap):
    """Makes each event once and gives it to the taps whose selection has its type."""

    Config = TapConfig
    many = True
    shared_at_top = True

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Lease an output for each stanza; from then on the recorder's own methods stand for this plugin's."""
        recorder = self._recorder = Recorder(
            (config.selected, _form(config, server), _output(config, server).offer) for config in self.stanzas
        )
        # a call less for each message
        self.on_query, self.on_response = recorder.client_query, recorder.client_response  # type: ignore[method-assign]
        self.emit = self.forwarder_query = self.forwarder_response = recorder.emit  # type: ignore[method-assign]

    def on_query(self, query: Query) -> None:
        """CLIENT_QUERY, as it arrived."""
        self._recorder.client_query(query)

    def on_response(self, query: Query, response: Response) -> None:
        """CLIENT_RESPONSE, as it leaves."""
        self._recorder.client_response(query, response)

    def forwarder_query(self, event: Event) -> None:
        """FORWARDER_QUERY."""
        self._recorder.emit(event)

    def forwarder_response(self, event: Event) -> None:
        """FORWARDER_RESPONSE."""
        self._recorder.emit(event)

    def emit(self, event: Event) -> None:
        """Any message, of any type, to the taps that want its type."""
        self._recorder.emit(event)

    def wants(self, type: int) -> bool:
        """Whether any tap wants messages of that type."""
        return self._recorder.wants(type)

    def describe(self) -> list[str]:
        """`taps client and forwarder messages to unix:///run/tap.sock`, for each."""
        return [f"taps {_selection(config)} to {config.socket}" for config in self.stanzas]


def _output(config: TapConfig, server: Server) -> Output:
    return server.lease(("dnstap", config.output), lambda: _make_output(config, server.relay))


def _make_output(config: TapConfig, relay: Relay | None) -> Output:
    if config.socket.scheme != "file":
        return SocketOutput(config.output)
    return RelayedOutput(config.output, relay) if relay else FileOutput(config.output)


def _form(config: TapConfig, server: Server) -> FrameForm:
    for label in config.extra.unknown:
        log.warning("tap %s: %s in extra is no label, and stays as it is", config.shown_name, label)
    return FrameForm(
        config.full,
        socket.gethostname() if config.identity is None else config.identity,
        f"dnsproxy {server.version}" if config.version is None else config.version,
        config.extra,
    )


def _selection(config: TapConfig) -> str:
    return "everything" if config.selected == ALL_TYPES else ", ".join(each.word for each in config.types)
