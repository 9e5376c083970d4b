"""Real programs: looked for, run to their end, or kept running as an upstream or a collector."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import wire as dns_wire
from tests.support.client import exchange
from tests.support.ports import free_port

PACKAGES = {  # Debian's
    "dig": "bind9-dnsutils",
    "dnstap-read": "bind9-dnsutils",
    "kdig": "knot-dnsutils",
    "dnstap": "golang-github-dnstap-golang-dnstap-cli",
    "fstrm_capture": "fstrm-bin",
    "fstrm_dump": "fstrm-bin",
    "fstrm_replay": "fstrm-bin",
    "nsd": "nsd",
    "unbound": "unbound",
    "setpriv": "util-linux",
}
RUN_WITHIN_S = 20.0
START_WITHIN_S = 10.0


def require_program(name: str, package: str | None = None) -> str:
    """The program's path; without it a skip with the package's name, or a failure in CI."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
    if path is not None:
        return path
    missing = f"{name} is missing: install {package or PACKAGES.get(name, name)}"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def run_program(name: str, *arguments: str) -> str:
    """What it prints; AssertionError with everything if it fails."""
    done = subprocess.run([require_program(name), *arguments], check=False, capture_output=True, timeout=RUN_WITHIN_S)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{name} {' '.join(arguments)}: status {done.returncode}\n{out}{err}"
    return out


def dig(port: int, *arguments: str, host: str = "127.0.0.1") -> str:
    """dig's output against this port: one try, three seconds."""
    return run_program("dig", f"@{host}", "-p", str(port), "+tries=1", "+time=3", *arguments)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, out: Path, end: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, its output in a file; ended at the end of the block if it hasn't by itself."""
    with out.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            end_program(process, end)


def end_program(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(RUN_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_path(path: Path) -> None:
    end = time.monotonic() + START_WITHIN_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.02)


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
    port, zone, config = free_port(), folder / "example.org.zone", folder / "nsd.conf"
    zone.write_text(ZONE + big_rrset("big", 3_000) + big_rrset("huge", 40_000))
    config.write_text(_nsd_config(folder, port))
    with running([require_program("nsd"), "-d", "-c", str(config)], out=folder / "nsd.log"):
        wait_for_answer(port, "www.example.org", folder / "nsd.log")
        yield Nsd(port, f"127.0.0.1:{port}")


@contextlib.contextmanager
def unbound(folder: Path, stub: str) -> Iterator[int]:
    """An unbound that asks the server at `stub` (host:port) for example.org; gives its port."""
    port, config = free_port(), folder / "unbound.conf"
    config.write_text(_unbound_config(folder, port, stub))
    with running([require_program("unbound"), "-d", "-p", "-c", str(config)], out=folder / "unbound.log"):
        wait_for_answer(port, "www.example.org", folder / "unbound.log")
        yield port


def wait_for_answer(port: int, name: str, log: Path) -> None:
    """Until this server answers NOERROR."""
    end = time.monotonic() + START_WITHIN_S
    while not _answers(port, name):
        assert time.monotonic() < end, f"nobody answers on port {port}: {log.read_text(errors='replace')}"
        time.sleep(0.05)


def _answers(port: int, name: str) -> bool:
    try:
        return dns_wire.rcode(exchange(dns_wire.query(name), port)) == 0
    except OSError:
        return False


def _nsd_config(folder: Path, port: int) -> str:
    return f"""
server:
    ip-address: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    zonesdir: "{folder}"
    zonelistfile: "{folder}/zone.list"
    pidfile: "{folder}/nsd.pid"
    xfrdfile: "{folder}/xfrd.state"
    database: ""
    xfrdir: "{folder}"
    cookie-secret-file: ""
    server-count: 1
    rrl-ratelimit: 0
    ipv4-edns-size: 4096
remote-control:
    control-enable: no
zone:
    name: example.org
    zonefile: example.org.zone
"""


def _unbound_config(folder: Path, port: int, stub: str) -> str:
    return f"""
server:
    interface: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    do-ip6: no
    num-threads: 1
    module-config: "iterator"
    do-not-query-localhost: no
    ip-ratelimit: 0
    max-udp-size: 4096
remote-control:
    control-enable: no
stub-zone:
    name: example.org
    stub-addr: {stub.replace(":", "@")}
"""
