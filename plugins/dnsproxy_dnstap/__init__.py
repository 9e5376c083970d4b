"""The `dnstap` plugin: shows every query and answer, on both sides of the proxy, to any number of taps."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import trio

from dnsproxy.config import OptionError
from dnsproxy.dnstap.listening_tap import ListeningTap
from dnsproxy.dnstap.recorder import Recorder, TapPlan
from dnsproxy.dnstap.sink import FrameForm
from dnsproxy.plugin import Observer, Plugin, Server, Tap
from dnsproxy_dnstap.describe import described
from dnsproxy_dnstap.options import TapConfig
from dnsproxy_dnstap.outputs import lease_key, make_output

if TYPE_CHECKING:
    from dnsproxy.config import CheckContext
    from dnsproxy.dnstap.events import Event
    from dnsproxy.dnstap.output import Output, OutputOptions
    from dnsproxy.message import Query, Response
    from dnsproxy.template import Template

__all__ = ["Dnstap", "TapConfig"]

log = logging.getLogger("dnsproxy")


class Dnstap(Observer, Tap):
    """Makes each event once and gives it to the taps whose selection has its type."""

    Config = TapConfig
    many = True
    shared_at_top = True

    @classmethod
    def check(cls, stanzas: Sequence[TapConfig], context: CheckContext) -> Iterable[OptionError]:
        """Where this very server takes queries nobody takes dnstap, and nobody else can listen."""
        for number, config in enumerate(stanzas):
            where = config.destination
            if where.host and context.listens_on(where.host, where.port, "tcp"):
                key = "socket" if config.listen is None else "listen"
                yield OptionError(key, f"{where} is where this server takes queries; expected another", stanza=number)

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Lease an output for each stanza; from then on the recorder's own methods stand for this plugin's."""
        self._outputs = [_lease(config.output, server) for config in self.stanzas]
        plans = [_plan(config, output, server) for config, output in zip(self.stanzas, self._outputs, strict=True)]
        recorder = self.recorder = self._recorder = Recorder(plans)
        self.wants_times = recorder.wants_times
        # a call less for each message
        self.on_query, self.on_response = recorder.client_query, recorder.client_response  # type: ignore[method-assign]
        self.emit = self.forwarder_query = self.forwarder_response = recorder.emit  # type: ignore[method-assign]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """This configuration is in service: what it has taken over from an earlier one heeds it from now on."""
        for config, output in zip(self.stanzas, self._outputs, strict=True):
            if isinstance(output, ListeningTap):
                output.configure(config.output)
        task_status.started()

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
        """`taps client, forwarder to unix:///run/tap.sock`, for each."""
        return list(map(described, self.stanzas))


def _lease(options: OutputOptions, server: Server) -> Output | ListeningTap:
    return server.lease(lease_key(options), lambda: make_output(options, server))


def _plan(config: TapConfig, output: Output | ListeningTap, server: Server) -> TapPlan:
    """What the stanza wants, and the way into its output."""
    return TapPlan(output.offer, _form(config, server), config.selected, config.selection, output.lose)


def _form(config: TapConfig, server: Server) -> FrameForm:
    for label in config.extra.unknown:
        log.warning("tap %s: %s in extra is no label, and stays as it is", config.shown_name, label)
    return FrameForm(
        full=config.full,
        identity=socket.gethostname() if config.identity is None else config.identity,
        version=f"dnsproxy {server.version}" if config.version is None else config.version,
        extra=_extra(config),
        with_queries=config.responses_with_queries,
        compat=config.compat,
        privacy=config.privacy,
    )


def _extra(config: TapConfig) -> Template:
    """The template, which knows the tap's sample rate: as it is written, and in JSON a number."""
    selection = config.selection
    if selection.sample is None:
        return config.extra
    is_text = isinstance(config.extra.source, str)
    return config.extra.knowing({"dnstap/sample": selection.sample_text if is_text else selection.sample})
