"""Real DoH servers as upstreams: dnsdist, unbound, and CoreDNS where it is installed."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority
from tests.support.client import ask
from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.ports import free_port
from tests.support.programs import Nsd, require_program, running, wait_for_answer
from tests.support.toml import dnstap, forward

pytestmark = pytest.mark.interop

DNSDIST = """\
setSecurityPollSuffix("")
setLocal("127.0.0.1:{plain}")
addDOHLocal("127.0.0.1:{port}", "{cert}", "{key}", "/dns-query")
newServer{{address="{upstream}"}}
getServer(0):setUp()
"""
UNBOUND = """\
server:
    interface: 127.0.0.1@{plain}
    interface: 127.0.0.1@{port}
    https-port: {port}
    http-endpoint: "/dns-query"
    tls-service-pem: "{cert}"
    tls-service-key: "{key}"
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    do-ip6: no
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
remote-control:
    control-enable: no
stub-zone:
    name: example.org
    stub-addr: {unbounds}
"""
COREDNS = """\
https://.:{port} {{
    bind 127.0.0.1
    tls {cert} {key}
    forward . {upstream}
}}
.:{plain} {{
    bind 127.0.0.1
    forward . {upstream}
}}
"""
PROGRAMS = {
    "dnsdist": (DNSDIST, ["--supervised", "--disable-syslog", "-C"]),
    "unbound": (UNBOUND, ["-d", "-p", "-c"]),
    "coredns": (COREDNS, ["-quiet", "-conf"]),
}
StartServer = Callable[[str], str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start_server(authority: Nsd, certificates: Authority, tmp_path: Path) -> Iterator[StartServer]:
    """Starts a DoH server in front of the NSD and gives its URL."""
    with contextlib.ExitStack() as stack:

        def start(name: str) -> str:
            text, arguments = PROGRAMS[name]
            if name == "coredns" and shutil.which(name) is None:
                pytest.skip("coredns is missing: one binary from its releases page")
            config, port, plain = tmp_path / f"{name}.conf", free_port(), free_port()
            unbounds = authority.address.replace(":", "@")
            values = {"upstream": authority.address, "unbounds": unbounds, **certificates.issue(name)}
            config.write_text(text.format(port=port, plain=plain, folder=tmp_path, **values))
            log = tmp_path / f"{name}.log"
            stack.enter_context(running([require_program(name), *arguments, str(config)], out=log))
            wait_for_answer(plain, "www.example.org", log)
            return f"https://127.0.0.1:{port}/dns-query"

        yield start


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_real_servers_answer_over_one_connection(
    start_proxy: StartProxy,
    start_server: StartServer,
    certificates: Authority,
    collector: Collector,
    name: str,
    method: str,
) -> None:
    to = start_server(name)
    proxy = start_proxy(
        dnstap(to=collector) + forward(to, ca=certificates.ca, method=method, timeout="2s", deadline="4s")
    )
    answer = ask(wire.query("www.example.org", edns=True), proxy.port)
    assert sorted(wire.addresses(answer)) == ["192.0.2.10", "192.0.2.11"]
    assert ask(wire.query("nowhere.example.org"), proxy.port).rcode() == dns.rcode.NXDOMAIN
    assert len(wire.txt(ask(wire.query("huge.example.org", "TXT"), proxy.port, tcp=True))) > 100
    ask_many(proxy.port, 300)
    sent = collector.wait_for(303, "FQ")
    assert {(message.protocol, (message.wire or b"x")[:2]) for message in sent} == {("DOH", b"\0\0")}
    assert len({message.query_port for message in sent}) == 1
    (status,) = proxy.status()["upstreams"]
    assert (status["queries"], status["responses"], status["timeouts"]) == (303, 303, 0)
