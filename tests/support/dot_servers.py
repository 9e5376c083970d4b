"""Real DoT servers: a function for each gives its configuration, and `dot_server` runs it."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.name_server_configs import dnsdist_config, nsd_config, over_tls, unbound_config
from tests.support.name_servers import ZONE, name_server
from tests.support.ports import free_port

NAME = "dot.example.org"
Server = Callable[[Path, int, int], str]


def unbound(folder: Path, port: int, dot_port: int) -> str:
    """Answers www.example.org by itself."""
    pem = f"{folder}/server.pem"
    zone = ('local-zone: "example.org." redirect', 'local-data: "example.org. 300 A 192.0.2.10"')
    return unbound_config(folder, port, *over_tls(dot_port, pem, pem), *zone)


def dnsdist(folder: Path, port: int, dot_port: int) -> str:
    """Answers everything by itself."""
    pem = f"{folder}/server.pem"
    listener = f'addTLSLocal("127.0.0.1:{dot_port}", "{pem}", "{pem}")'
    return dnsdist_config(port, listener, 'addAction(AllRule(), SpoofAction("192.0.2.10"))')


def nsd(folder: Path, port: int, dot_port: int) -> str:
    """Serves example.org."""
    pem = f"{folder}/server.pem"
    (folder / "example.org.zone").write_text(ZONE)
    return nsd_config(folder, port, *over_tls(dot_port, pem, pem))


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
    with name_server(make.__name__, folder, make(folder, port, dot_port), port):
        yield DotServer(dot_port, str(folder / "ca.pem"), issued.cert_chain_pems[0].bytes())
