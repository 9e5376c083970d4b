"""The status of a proxy as Prometheus reads it; CoreDNS's names where ours mean the same."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UnknownMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from dnsproxy.listen_address import split_host_port, split_scheme
from dnsproxy.metric import Metric, PluginMetrics, is_number
from dnsproxy.status import WELL_TAPS, WELL_UPSTREAMS, Entry, merged

LISTENER_REASONS: Final = ("malformed", "not_allowed", "port_zero")  # at 0 from the start: rates need a first value
# how CoreDNS calls a server of ours, and `proto` of what arrives there
COREDNS_SERVERS: Final = {
    "udp": ("dns", "udp"),
    "tcp": ("dns", "tcp"),
    "tls": ("tls", "tcp"),
    "https": ("https", "tcp"),
    "quic": ("quic", "udp"),
}
COREDNS_PROXY: Final = "forward"  # as CoreDNS calls what its upstreams belong to

Status = Mapping[str, Any]
Family = CounterMetricFamily | GaugeMetricFamily | UnknownMetricFamily


class Column(NamedTuple):
    """One number of each entry of a table of the status: a key of the entry, or what is made of it.

    A value that is a table has a sample for each of its keys, under the label `by`.
    """

    name: str
    help: str
    of: str | Callable[[Status], Any]
    by: str = ""

    def value(self, entry: Status) -> Any:
        """The number, or numbers, of one entry; None when it has none."""
        return self.of(entry) if callable(self.of) else entry.get(self.of)


def _seconds(entry: Status) -> float | None:
    milliseconds = entry.get("rtt_ms")
    return None if milliseconds is None else milliseconds / 1000


LISTENER_COLUMNS: Final = (
    Column("dnsproxy_listener_queries_total", "Messages that get an answer.", "queries"),
    Column("dnsproxy_listener_responses_total", "Answers handed to the kernel.", "responses"),
    Column(
        "dnsproxy_listener_dropped_total",
        "Datagrams that get no answer, by reason.",
        lambda entry: dict.fromkeys(LISTENER_REASONS, 0) | dict(entry.get("dropped", {})),
        by="reason",
    ),
    Column(
        "dnsproxy_listener_send_failed_total",
        "Answers that the kernel did not take.",
        lambda entry: entry.get("send_failed", 0),
    ),
)
TAP_COLUMNS: Final = (
    Column("dnsproxy_tap_offered_total", "Messages that the tap's selection let through.", "offered"),
    Column("dnsproxy_tap_sent_total", "Messages that the kernel has taken to their last octet.", "sent"),
    Column("dnsproxy_tap_dropped_total", "Messages given up, by reason.", "dropped", by="reason"),
    Column("dnsproxy_tap_queued", "Messages that wait, in memory or in the spool.", "queued"),
    Column("dnsproxy_tap_spooled", "Those of them that wait on disk.", "spooled"),
    Column("dnsproxy_tap_sent_bytes_total", "Octets sent, frame lengths included.", "bytes"),
    Column("dnsproxy_tap_connects_total", "Connections that got as far as data.", "connects"),
    Column("dnsproxy_tap_reconnects_total", "Connections of a tap that were not its first.", "reconnects"),
    Column("dnsproxy_tap_collectors", "Collectors that are connected to a tap that listens.", "collectors"),
    Column(
        "dnsproxy_tap_connected",
        "1 while the tap is connected, or listens for collectors.",
        lambda entry: entry.get("state") in WELL_TAPS,
    ),
    Column(
        "dnsproxy_tap_stalled",
        "1 while messages wait and nothing is accepted.",
        lambda entry: bool(entry.get("stalled")),
    ),
    Column("dnsproxy_tap_oldest_queued_seconds", "How long the oldest message has waited.", "oldest_queued_s"),
)
UPSTREAM_COLUMNS: Final = (
    Column("dnsproxy_upstream_up", "1 while queries go there.", lambda entry: entry.get("state") in WELL_UPSTREAMS),
    Column("dnsproxy_upstream_queries_total", "Attempts; probes are none.", "queries"),
    Column("dnsproxy_upstream_responses_total", "Replies to them.", "responses"),
    Column("dnsproxy_upstream_timeouts_total", "Attempts without a reply in time.", "timeouts"),
    Column("dnsproxy_upstream_mismatches_total", "Replies with a wrong ID or question.", "mismatches"),
    Column("dnsproxy_upstream_in_flight", "Attempts that wait for a reply.", "in_flight"),
    Column("dnsproxy_upstream_rtt_seconds", "Time to a reply, the last ones weighing more.", _seconds),
    Column("dnsproxy_upstream_transitions_total", "Changes between up and down.", "transitions"),
    Column("dnsproxy_upstream_probes_total", "Queries of our own that ask whether it is up.", "probes"),
    Column("dnsproxy_upstream_probe_failures_total", "Those of them that were not answered.", "probe_failures"),
    Column("dnsproxy_upstream_connections", "Connections, those included that are being made.", "connections"),
    Column("dnsproxy_upstream_tls_handshakes_total", "TLS handshakes, also those of DoH and DoQ.", "handshakes"),
    Column("dnsproxy_upstream_tls_resumptions_total", "Those of them that resumed a session.", "resumptions"),
)
PROCESS_COLUMNS: Final = (
    Column("dnsproxy_uptime_seconds", "Since the start.", "uptime_s"),
    Column("dnsproxy_workers", "Processes that share the ports, as configured.", "workers"),
    Column(
        "dnsproxy_workers_ready",
        "Those of them that answer.",
        lambda status: status.get("workers_ready", status.get("workers")),
    ),
    Column(
        "dnsproxy_worker_restarts_total", "Workers that were replaced.", lambda status: status.get("worker_restarts", 0)
    ),
    Column("dnsproxy_failures_total", "Queries that ended in an error of a plugin.", "failures"),
    Column(
        "dnsproxy_observer_failures_total",
        "Errors of plugins that watch: no answer was changed.",
        lambda status: status.get("observer_failures", 0),
    ),
    Column("coredns_panics_total", "The same, by CoreDNS's name.", "failures"),
)
LIMIT_COLUMNS: Final = (
    Column("dnsproxy_queries_in_flight", "Queries that wait for an upstream or a plugin.", "in_flight"),
    Column("dnsproxy_tcp_connections", "Connections of clients.", "tcp_connections"),
    Column(
        "dnsproxy_refused_total",
        "What was refused, by the limit that was reached.",
        lambda limits: {**limits.get("refused", {}), "run_tasks": limits.get("run_tasks_refused", 0)},
        by="limit",
    ),
)


def page(status: Status, plugins: PluginMetrics) -> Iterator[bytes]:
    """The text for Prometheus, a metric at a time, so that whoever sends it can do other things in between."""
    for family in StatusCollector(status, plugins).collect():
        yield generate_latest(_Alone(family))


class StatusCollector(Collector):
    """The metrics of one status, for prometheus_client."""

    def __init__(self, status: Status, plugins: PluginMetrics) -> None:
        self._status = status
        self._plugins = plugins

    def collect(self) -> Iterator[Family]:
        """Every metric that has a value."""
        status = self._status
        yield _build_info(status)
        yield from _table(PROCESS_COLUMNS, [status])
        yield from _table(LIMIT_COLUMNS, [status.get("limits", {})])
        yield from _table(LISTENER_COLUMNS, status.get("listeners", ()), listener="address")
        yield _coredns_requests(status.get("listeners", ()))
        yield from _table(TAP_COLUMNS, merged(status.get("taps", ()), ("name",)), tap="name")
        yield from _table(UPSTREAM_COLUMNS, status.get("upstreams", ()), upstream="name", address="address")
        yield from _coredns_healthchecks(status.get("upstreams", ()))
        yield from self._of_plugins(status.get("plugins", {}))

    def _of_plugins(self, numbers: Mapping[str, Status]) -> Iterator[Family]:
        """All that plugins count, and once more by the names that they have given it."""
        every = UnknownMetricFamily("dnsproxy_plugin_status", "A number of a plugin.", labels=("plugin", "key"))
        named: dict[str, list[tuple[Metric, Status]]] = {}
        for plugin, status in numbers.items():
            for key, value in _numbers(status):
                every.add_metric((plugin, key), value)
            for metric in self._plugins.get(plugin, ()):
                named.setdefault(metric.name, []).append((metric, status))
        yield every
        for name, sources in named.items():
            family = _family(name, sources[0][0].help, ())
            family.add_metric((), sum(metric.value(status) for metric, status in sources))
            yield family


def _numbers(status: Status, path: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a plugin and of the tables in it: `queries.A`."""
    for key, value in status.items():
        if is_number(value):
            yield f"{path}{key}", value
        elif isinstance(value, dict):
            yield from _numbers(value, f"{path}{key}.")


class _Alone(Collector):
    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return [self._family]


def _table(columns: Iterable[Column], entries: Iterable[Status], **labels: str) -> Iterator[Family]:
    """A metric for each column, with a sample for each entry; labels are the entry's values under these keys."""
    entries = list(entries)
    for column in columns:
        family = _family(column.name, column.help, (*labels, column.by) if column.by else tuple(labels))
        for entry in entries:
            of = tuple(str(entry.get(key)) for key in labels.values())
            value = column.value(entry)
            if column.by:
                for by, inner in (value or {}).items():
                    family.add_metric((*of, by), inner)
            elif value is not None:
                family.add_metric(of, value)
        if family.samples:
            yield family


def _family(name: str, help: str, labels: Sequence[str]) -> CounterMetricFamily | GaugeMetricFamily:  # noqa: A002
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, help, labels=labels)


def _build_info(status: Status) -> Family:
    family = _family("dnsproxy_build_info", "What runs.", ("version", "compiled", "python"))
    compiled = str(bool(status.get("compiled"))).lower()
    family.add_metric((str(status.get("version")), compiled, platform.python_version()), 1)
    return family


def _coredns_requests(listeners: Iterable[Entry]) -> Family:
    """What listeners count as queries, by those labels of CoreDNS that can be told of a listener."""
    name, labels = "coredns_dns_requests_total", ("server", "proto", "family")
    family = _family(name, "Messages that get an answer, by CoreDNS's name.", labels)
    for listener in listeners:
        scheme, address = split_scheme(listener["address"])
        server, proto = COREDNS_SERVERS.get(scheme or "", (scheme, ""))
        family.add_metric((f"{server}://{address}", proto, _ip_family(address)), listener["queries"])
    return family


def _coredns_healthchecks(upstreams: Iterable[Entry]) -> Iterator[Family]:
    """Probes that failed; CoreDNS tells upstreams apart by IP address and port alone."""
    name, labels = "coredns_proxy_healthcheck_failures_total", ("proxy_name", "to")
    family = _family(name, "Probes that were not answered, by CoreDNS's name.", labels)
    for upstream in merged(upstreams, ("name",)):
        if "probe_failures" in upstream:
            family.add_metric((COREDNS_PROXY, upstream["name"]), upstream["probe_failures"])
    if family.samples:
        yield family


def _ip_family(address: str) -> str:
    """1 for IPv4, 2 for IPv6; nothing where both may arrive."""
    host, _ = split_host_port(address)
    if host == "::":
        return ""
    return "2" if ":" in host else "1"
