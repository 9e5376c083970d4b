"""Real DoT servers: each function writes a configuration and gives the command that runs it in the foreground."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.ports import free_port
from tests.support.programs import ZONE, require_program, running, wait_for_answer

NAME = "dot.example.org"
Server = Callable[[Path, int, int], list[str]]


def unbound(folder: Path, port: int, dot_port: int) -> list[str]:
    """Answers www.example.org by itself."""
    config = folder / "unbound-dot.conf"
    config.write_text(f"""
server:
    interface: 127.0.0.1@{port}
    interface: 127.0.0.1@{dot_port}
    tls-port: {dot_port}
    tls-service-pem: "{folder}/server.pem"
    tls-service-key: "{folder}/server.pem"
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    num-threads: 1
    module-config: "iterator"
    local-zone: "example.org." redirect
    local-data: "example.org. 300 A 192.0.2.10"
remote-control:
    control-enable: no
""")
    return [require_program("unbound"), "-d", "-p", "-c", str(config)]


def dnsdist(folder: Path, port: int, dot_port: int) -> list[str]:
    """Answers everything by itself."""
    config = folder / "dnsdist.conf"
    config.write_text(f"""
setSecurityPollSuffix("")
setLocal("127.0.0.1:{port}")
addTLSLocal("127.0.0.1:{dot_port}", "{folder}/server.pem", "{folder}/server.pem")
addAction(AllRule(), SpoofAction("192.0.2.10"))
""")
    return [require_program("dnsdist"), "--supervised", "--disable-syslog", "-C", str(config)]


def nsd(folder: Path, port: int, dot_port: int) -> list[str]:
    """Serves example.org."""
    (folder / "example.org.zone").write_text(ZONE)
    config = folder / "nsd-dot.conf"
    config.write_text(f"""
server:
    ip-address: 127.0.0.1@{port}
    ip-address: 127.0.0.1@{dot_port}
    tls-port: {dot_port}
    tls-service-pem: "{folder}/server.pem"
    tls-service-key: "{folder}/server.pem"
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    pidfile: "{folder}/nsd.pid"
    xfrdfile: "{folder}/xfrd.state"
    database: ""
    xfrdir: "{folder}"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: example.org.zone
""")
    return [require_program("nsd"), "-d", "-c", str(config)]


@dataclass(frozen=True)
class DotServer:
    """A running one; `ca` is the file that its certificate, for NAME and 127.0.0.1, is verified with."""

    port: int
    ca: str
    certificate: bytes  # in PEM

    @property
    def address(self) -> str:
        return f"tls://127.0.0.1:{self.port}"


@contextlib.contextmanager
def dot_server(make: Server, folder: Path) -> Iterator[DotServer]:
    """It answers www.example.org with 192.0.2.10."""
    authority = trustme.CA()
    issued = authority.issue_cert(NAME, "127.0.0.1", key_type=trustme.KeyType.RSA)
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    port, dot_port = free_port(), free_port()
    log = folder / f"{make.__name__}.log"
    with running(make(folder, port, dot_port), out=log):
        wait_for_answer(port, "www.example.org", log)
        yield DotServer(dot_port, str(folder / "ca.pem"), issued.cert_chain_pems[0].bytes())
