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
from harness.pass_through import install, stanzas
from harness.peers import Site, TapCount
from harness.workloads import DOH, DOH_PATH, DOT, SERVER_NAME, Tap, Workload

BUILDS = ("interpreted", "compiled")  # words of `dnsproxy --version`
STATUS_TIMEOUT_S = 10  # a Python program starts, asks, ends

CONFIGURATION = """\
listen = ["udp://{host}:{port}"]
admin = "{admin}"
workers = {workers}
{taps}{plugins}{cache}
[[forward]]
from = "."
{upstream}
"""


class Dnsproxy:
    """A command that understands this project's options; `python_path` goes before what it imports from."""

    def __init__(self, command: Sequence[str], name: str = "", python_path: Sequence[Path] = ()) -> None:
        self.command = list(command)
        self.python_path = list(python_path)
        self._version = programs.first_line(self._run("--version"))
        if not self._version:
            raise BenchError(f"{shlex.join(self._run('--version'))}: it does not run")
        self.build = next((build for build in BUILDS if build in self._version), "unknown build")
        self.name = name or f"dnsproxy, {self.build}"

    def version(self) -> str:
        return self._version

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return workload.taps

    def remark(self, workload: Workload) -> str:
        return ""

    def lacks(self, workload: Workload) -> str:
        """What this build would need for a workload; empty if nothing."""
        if not workload.cache_octets or self._has_plugin("cache"):
            return ""
        return f"{self.name} has no plugin `cache` (`dnsproxy plugins`)"

    def configure(self, site: Site) -> list[str]:
        workload = site.workload
        taps = zip(workload.taps, site.tap_paths, strict=True)
        configuration = site.folder / "dnsproxy.toml"
        configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=site.port,
                upstream=_upstream(site),
                admin=_admin(site),
                workers=workload.workers,
                taps="".join(_stanza(tap, path) for tap, path in taps),
                plugins=stanzas(workload.pass_through) if workload.pass_through else "",
                cache=f"[cache]\nsize = {workload.cache_octets}\n" if workload.cache_octets else "",
            )
        )
        third_party = [install(site.folder, workload.pass_through)] if workload.pass_through else []
        return self._run("--config", str(configuration), python_path=third_party)

    def tap_counts(self, site: Site) -> list[TapCount] | None:
        command = self._run("status", "--json", "--admin", str(_admin(site)))
        done = subprocess.run(command, capture_output=True, text=True, timeout=STATUS_TIMEOUT_S)
        try:
            return [_tap_count(tap) for tap in json.loads(done.stdout)["taps"]]
        except (ValueError, KeyError) as exc:
            raise BenchError(f"{self.name} status: {done.stderr.strip() or done.stdout.strip() or exc}") from exc

    def tap(self, arguments: Sequence[str]) -> list[str]:
        """The command for `dnsproxy tap` with these arguments."""
        return self._run("tap", *arguments)

    def _has_plugin(self, name: str) -> bool:
        done = subprocess.run(self._run("plugins"), capture_output=True, text=True, timeout=STATUS_TIMEOUT_S)
        return any(line.split()[:1] == [name] for line in done.stdout.splitlines())

    def _run(self, *arguments: str, python_path: Sequence[Path] = ()) -> list[str]:
        path = ":".join(map(str, [*python_path, *self.python_path]))
        return [*(["/usr/bin/env", f"PYTHONPATH={path}"] if path else []), *self.command, *arguments]


def _admin(site: Site) -> Path:
    return site.folder / "admin.sock"


def _upstream(site: Site) -> str:
    if site.workload.over == DOT:
        return f'to = ["tls://{HOST}%{SERVER_NAME}:{site.upstream_port}"]\nca = "{site.ca}"'
    if site.workload.over == DOH:
        url = f"https://{HOST}:{site.upstream_port}{DOH_PATH}"
        return f'to = [{{address = "{url}", server_name = "{SERVER_NAME}"}}]\nca = "{site.ca}"'
    return f'to = ["udp://{HOST}:{site.upstream_port}"]'


def _stanza(tap: Tap, path: Path) -> str:
    lines = ["[[dnstap]]", f'socket = "unix://{path}"', "full = true", f'identity = "{IDENTITY}"']
    if tap.extra is not None:
        lines.append(f"extra = '{tap.extra}'")
    if tap.client_only:
        lines.append('types = ["CLIENT_QUERY", "CLIENT_RESPONSE"]')
    return "\n".join(lines) + "\n"


def _tap_count(tap: dict[str, object]) -> TapCount:
    dropped = tap["dropped"]
    assert isinstance(dropped, dict)
    return TapCount(int(str(tap["offered"])), int(str(tap["sent"])), sum(dropped.values()))
