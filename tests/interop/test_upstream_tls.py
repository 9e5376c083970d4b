"""unbound, dnsdist and NSD as DoT upstreams: many queries over few connections, pinned as kdig pins them."""

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnsproxy.upstream.tls import pin_of
from tests.conftest import StartProxy
from tests.support import dot_servers, wire
from tests.support.client import answers, ask, udp_socket
from tests.support.collector import wait_until
from tests.support.dot_servers import DotServer, dot_server
from tests.support.programs import run_program
from tests.support.proxy import Proxy
from tests.support.toml import forward

pytestmark = pytest.mark.interop

IN_FLIGHT = 100  # more than the proxy's connections take one by one
ESTABLISHED = "01"  # in /proc/net/tcp
TIMES = {"timeout": "2s", "deadline": "4s"}


@pytest.fixture(scope="module", params=[dot_servers.unbound, dot_servers.dnsdist, dot_servers.nsd])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DotServer]:
    with dot_server(request.param, tmp_path_factory.mktemp("dot")) as started:
        yield started


def pin(server: DotServer) -> str:
    return base64.b64encode(pin_of(ssl.PEM_cert_to_DER_cert(server.certificate.decode()))).decode()


def test_a_hundred_queries_at_once_are_answered_without_a_timeout(start_proxy: StartProxy, server: DotServer) -> None:
    proxy = start_proxy(forward(server, ca=server.ca, **TIMES))
    for _ in range(3):
        with udp_socket(proxy.port) as client:
            for id in range(IN_FLIGHT):
                client.send(wire.query(f"q{id}.example.org", id=id, edns=bool(id % 2)))
            found = answers(client, IN_FLIGHT, within_s=1.5)
        assert {wire.message_id(one) for one in found} == set(range(IN_FLIGHT))
        assert {wire.rcode(one) for one in found} in ({0}, {3})  # NSD knows no such name
    (upstream,) = proxy.status()["upstreams"]
    assert (upstream["timeouts"], upstream["mismatches"], upstream["state"]) == (0, 0, "up")


def test_connections_that_are_closed_when_idle_are_made_again(start_proxy: StartProxy, server: DotServer) -> None:
    proxy = start_proxy(forward(server, ca=server.ca, idle_timeout="50ms", **TIMES))
    for _ in range(4):
        assert wire.addresses(ask(wire.query("www.example.org"), proxy.port))[0] == "192.0.2.10"
        wait_until(lambda: not _is_connected(proxy, server), "closed when idle")


def _is_connected(proxy: Proxy, server: DotServer) -> bool:
    """Whether the kernel has an established connection from the proxy's network to the server."""
    lines = Path(f"/proc/{proxy.process.pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return any(state == ESTABLISHED and there.endswith(f":{server.port:04X}") for _, _, there, state, *_ in fields)


def test_a_pin_that_kdig_takes_will_do_and_another_will_not(start_proxy: StartProxy, server: DotServer) -> None:
    right, wrong = pin(server), base64.b64encode(bytes(32)).decode()
    assert "192.0.2.10" in kdig(server, right)
    proxy = start_proxy(forward(server, ca=server.ca, pins=[wrong, right], **TIMES))
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0
    with pytest.raises(AssertionError, match="Error in the certificate"):
        kdig(server, wrong)
    proxy = start_proxy(forward(server, ca=server.ca, pins=[wrong], **TIMES))
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 2
    proxy.wait_for_log("refused: pin\n")


def kdig(server: DotServer, pin: str) -> str:
    options = [f"+tls-pin={pin}", "+retry=0", "+short"]
    return run_program("kdig", "@127.0.0.1", "-p", str(server.port), *options, "www.example.org")
