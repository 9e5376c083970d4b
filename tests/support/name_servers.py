"""Real name servers on loopback: configured, started, and waited for until they answer."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import wire
from tests.support.client import exchange
from tests.support.name_server_configs import nsd_config, unbound_config
from tests.support.ports import free_port
from tests.support.programs import START_WITHIN_S, require_program, running

IN_THE_FOREGROUND = {  # and then the name of the file with the configuration
    "coredns": ["-quiet", "-conf"],
    "dnsdist": ["--supervised", "--disable-syslog", "-C"],
    "named": ["-g", "-n", "1", "-c"],
    "nsd": ["-d", "-c"],
    "unbound": ["-d", "-p", "-c"],
}
ZONE = """\
$ORIGIN example.org.
$TTL 300
@       SOA   ns hostmaster 1 3600 900 604800 120
        NS    ns
        MX    10 mail
        TXT   "a text" "of two strings"
        CAA   0 issue "ca.example.net"
        DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==
        TYPE65534 \\# 4 0A000001
ns      A     192.0.2.53
        AAAA  2001:db8::53
www     A     192.0.2.10
        A     192.0.2.11
        AAAA  2001:db8::10
        HTTPS 1 . alpn=h2,h3
mail    A     192.0.2.25
alias   CNAME www
ent.deep A    192.0.2.77
*.wild  TXT   "from a wildcard"
_sip._tcp SRV 1 2 5060 www
odd\\032name A 192.0.2.88
text    3600 TXT "kept an hour"
short   7    A   192.0.2.7
"""


def big_rrset(owner: str, octets: int) -> str:
    """Zone lines of TXT records that make an answer of about this size."""
    return "".join(f'{owner} TXT "{number:04} {"x" * 195}"\n' for number in range(octets // 213))


@dataclass(frozen=True)
class Nsd:
    """An NSD that serves example.org (the ZONE above, `big` of 3 000 octets and `huge` of 40 000)."""

    port: int
    address: str


@contextlib.contextmanager
def nsd(folder: Path) -> Iterator[Nsd]:
    port = free_port()
    (folder / "example.org.zone").write_text(ZONE + big_rrset("big", 3_000) + big_rrset("huge", 40_000))
    with name_server("nsd", folder, nsd_config(folder, port), port):
        yield Nsd(port, f"127.0.0.1:{port}")


@contextlib.contextmanager
def unbound(folder: Path, stub: str) -> Iterator[int]:
    """An unbound that asks the server at `stub` (host:port) for example.org; gives its port."""
    port = free_port()
    with name_server("unbound", folder, unbound_config(folder, port, stub=stub), port):
        yield port


@contextlib.contextmanager
def name_server(program: str, folder: Path, config: str, port: int) -> Iterator[None]:
    """Runs one with this configuration; in the block it answers www.example.org by UDP at `port`."""
    file, log = folder / f"{program}.conf", folder / f"{program}.log"
    file.write_text(config)
    with running([require_program(program), *IN_THE_FOREGROUND[program], str(file)], out=log):
        wait_for_answer(port, "www.example.org", log)
        yield


def wait_for_answer(port: int, name: str, log: Path) -> None:
    """Until this server answers NOERROR."""
    end = time.monotonic() + START_WITHIN_S
    while not _answers(port, name):
        assert time.monotonic() < end, f"nobody answers on port {port}: {log.read_text(errors='replace')}"
        time.sleep(0.05)


def _answers(port: int, name: str) -> bool:
    try:
        return wire.rcode(exchange(wire.query(name), port)) == 0
    except OSError:
        return False
