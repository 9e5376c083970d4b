"""The `dnstap` plugin: shows every query and answer, on both sides of the proxy, to any number of taps."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dnsproxy.dnstap.events import CLIENT_QUERY, CLIENT_RESPONSE, Event, client_route
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.output import Output, SocketOutput
from dnsproxy.dnstap.schema import ALL_TYPES, MessageType
from dnsproxy.dnstap.sink import FrameForm, make_sinks
from dnsproxy.plugin import Observer, Plugin, Server, Tap
from dnsproxy_dnstap.options import TapConfig

if TYPE_CHECKING:
    from dnsproxy.message import Query, Response

__all__ = ["Dnstap", "TapConfig"]

log = logging.getLogger("dnsproxy")

Takers = tuple[Callable[[Event], None], ...]


class Dnstap(Observer, Tap):
    """Makes each event once and gives it to the taps whose selection has its type."""

    Config = TapConfig
    many = True
    shared_at_top = True

    def __init__(self, stanzas: Sequence[TapConfig]) -> None:
        super().__init__(stanzas)
        self._takers: list[Takers] = [()] * (max(MessageType) + 1)
        self._for_query: Takers = ()
        self._for_response: Takers = ()

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Lease an output for each stanza, and sort the stanzas by the types they want."""
        taps = [(config.selected, _form(config, server), _output(config, server).offer) for config in self.stanzas]
        for type in MessageType:
            sinks = make_sinks([(form, offer) for selected, form, offer in taps if type in selected])
            self._takers[type] = tuple(sink.take for sink in sinks)
        self._for_query = self._takers[CLIENT_QUERY]
        self._for_response = self._takers[CLIENT_RESPONSE]

    def on_query(self, query: Query) -> None:
        """CLIENT_QUERY, as it arrived."""
        if not self._for_query:
            return
        endpoint = query.endpoint
        address = query.client_sockaddr
        route = endpoint.routes.get(address) or client_route(endpoint, address)
        event = Event(CLIENT_QUERY, query, route, query.received_ns, query.wire)
        for take in self._for_query:
            take(event)

    def on_response(self, query: Query, response: Response) -> None:
        """CLIENT_RESPONSE, as it leaves."""
        if not self._for_response:
            return
        endpoint = query.endpoint
        address = query.client_sockaddr
        route = endpoint.routes.get(address) or client_route(endpoint, address)
        event = Event(
            CLIENT_RESPONSE, query, route, query.received_ns, None, time.time_ns(), response.wire, None, response.policy
        )
        for take in self._for_response:
            take(event)

    def emit(self, event: Event) -> None:
        """Any message, of any type, to the taps that want its type."""
        for take in self._takers[event.type]:
            take(event)

    forwarder_query = emit
    forwarder_response = emit

    def wants(self, type: int) -> bool:
        """Whether any tap wants messages of that type; if none does, nobody need make the event."""
        return bool(self._takers[type])

    def describe(self) -> list[str]:
        """`taps client and forwarder messages to unix:///run/tap.sock`, for each."""
        return [f"taps {_selection(config)} to {config.socket}" for config in self.stanzas]


def _output(config: TapConfig, server: Server) -> Output:
    kind = FileOutput if config.socket.scheme == "file" else SocketOutput
    return server.lease(("dnstap", config.output), lambda: kind(config.output))


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
