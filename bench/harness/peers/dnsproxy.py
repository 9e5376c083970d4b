"""This project's proxy, in any build: the command says which."""

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness import programs
from harness.collector import IDENTITY
from harness.errors import BenchError
from harness.loopback import HOST
from harness.peers import Site
from harness.workloads import Tap, Workload

BUILDS = ("interpreted", "compiled")  # words of `dnsproxy --version`
STATUS_TIMEOUT_S = 10  # a Python program starts, asks, ends

CONFIGURATION = """\
listen = ["udp://{host}:{port}"]
admin = "{admin}"
{taps}
[[forward]]
from = "."
to = ["udp://{host}:{upstream_port}"]
"""


class Dnsproxy:
    """A command that understands this project's options."""

    def __init__(self, command: Sequence[str], name: str = "") -> None:
        self.command = list(command)
        self._version = programs.first_line([*self.command, "--version"])
        if not self._version:
            raise BenchError(f"{shlex.join(self.command)} --version: it does not run")
        self.build = next((build for build in BUILDS if build in self._version), "unknown build")
        self.name = name or f"dnsproxy, {self.build}"

    def version(self) -> str:
        return self._version

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return workload.taps

    def remark(self, workload: Workload) -> str:
        return ""

    def configure(self, site: Site) -> list[str]:
        taps = zip(site.workload.taps, site.tap_paths, strict=True)
        configuration = site.folder / "dnsproxy.toml"
        configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=site.port,
                upstream_port=site.upstream_port,
                admin=_admin(site),
                taps="\n".join(_stanza(tap, path) for tap, path in taps),
            )
        )
        return [*self.command, "--config", str(configuration)]

    def tap_counts(self, site: Site) -> list[tuple[int, int]] | None:
        command = [*self.command, "status", "--json", "--admin", str(_admin(site))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=STATUS_TIMEOUT_S)
        try:
            return [(tap["offered"], tap["sent"]) for tap in json.loads(done.stdout)["taps"]]
        except (ValueError, KeyError) as exc:
            raise BenchError(f"{self.name} status: {done.stderr.strip() or done.stdout.strip() or exc}") from exc


def _admin(site: Site) -> Path:
    return site.folder / "admin.sock"


def _stanza(tap: Tap, path: Path) -> str:
    lines = ["[[dnstap]]", f'socket = "unix://{path}"', "full = true", f'identity = "{IDENTITY}"']
    if tap.extra is not None:
        lines.append(f"extra = '{tap.extra}'")
    if tap.client_only:
        lines.append('types = ["CLIENT_QUERY", "CLIENT_RESPONSE"]')
    return "\n".join(lines) + "\n"
