"""Several servers in one process: chosen by address and zone, sharing taps, forwarding to each other."""

import json
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, ask, exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector
from tests.support.ports import free_port
from tests.support.proxy import Proxy, books
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

ZONE = 'zones = ["example.test."]\ndata = """\n@ 300 SOA ns host 1 2 3 4 5\n@ NS ns\nwww A 192.0.2.80\n"""\n'


class ManyServers(Proxy):
    """A proxy whose file has only [[server]] blocks: no `listen` at the top."""

    def _head(self) -> str:
        return f"admin = {json.dumps(str(self.admin))}\n"


def server(listen: list[str], *tables: str, **keys: object) -> str:
    """A [[server]] block with these tables inside."""
    inside = "".join(tables).replace("[[", "[[server.").replace("\n[records]", "\n[server.records]")
    return stanza("[[server]]", {"listen": listen, **keys}) + inside


def test_one_server_forwards_to_another_that_answers_from_records(tmp_path: Path, collector: Collector) -> None:
    front, back = free_port(), free_port()
    body = (
        dnstap(to=collector, extra="{local}")
        + server([f"127.0.0.1:{front}"], forward(f"127.0.0.1:{back}"))
        + server([f"127.0.0.1:{back}"], "\n[records]\n" + ZONE)
    )
    with ManyServers(tmp_path, body, port=front) as proxy:
        assert wire.addresses(ask(wire.query("www.example.test"), front)) == ["192.0.2.80"]
        messages = collector.wait_for(6)
        by_port = {port: [one.type for one in messages if port == one.response_port] for port in (front, back)}
        assert by_port[front] == ["CQ", "CR"]
        assert sorted(by_port[back]) == ["CQ", "CR", "FQ", "FR"]
        assert wire.rcode(exchange_tcp(wire.query("no.example.test"), front)) == wire.NXDOMAIN
        collector.wait_for(12)
        offered, tapped = books(proxy.status())
        assert offered == tapped == 12
        assert len(proxy.status()["taps"]) == 1, "shared by both"


def test_on_one_address_the_most_specific_zone_wins(
    tmp_path: Path, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    port = free_port()
    listen = [f"127.0.0.1:{port}"]
    body = server(listen, forward(upstream), zones=["example.org"]) + server(
        listen, forward(second_upstream), zones=["deep.example.org"]
    )
    with ManyServers(tmp_path, body, port=port):
        for send in (exchange, exchange_tcp):
            assert send(wire.query("www.example.org"), port)[-4:] == bytes((192, 0, 2, 1))
            assert send(wire.query("www.deep.example.org"), port)[-4:] == bytes((192, 0, 2, 2))
            assert wire.rcode(send(wire.query("www.example.net"), port)) == wire.REFUSED


@pytest.mark.parametrize("limit", ["queries", "queries_per_client"])
def test_queries_beyond_the_limits_are_refused_and_counted(
    start_proxy: StartProxy, upstream: HostileUpstream, limit: str
) -> None:
    upstream.on("held", behaviours.hold)
    body = stanza("[limits]", {limit: 5}) + forward(upstream, timeout="2s", deadline="4s")
    proxy = start_proxy(body)
    with udp_socket(proxy.port) as client:
        for id in range(8):
            client.send(wire.query(f"h{id}.held.example.org", id=id))
        refused = {wire.message_id(answer): wire.rcode(answer) for answer in answers(client, 3)}
        assert refused == dict.fromkeys((5, 6, 7), wire.REFUSED)
        assert {name: count for name, count in proxy.status()["limits"]["refused"].items() if count} == {limit: 3}
        upstream.release()
        assert {wire.rcode(answer) for answer in answers(client, 5)} == {0}
        client.send(wire.query("free.example.org", id=9))
        assert wire.rcode(client.recv(512)) == 0
