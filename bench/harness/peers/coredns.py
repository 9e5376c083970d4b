"""CoreDNS: forward over UDP, DoT or DoH, no log; its taps always have all four types."""

from collections.abc import Sequence
from dataclasses import replace

from harness import programs
from harness.collector import IDENTITY
from harness.loopback import HOST
from harness.peers import Site, TapCount
from harness.workloads import COREDNS, DOH, SERVER_NAME, UDP, Tap, Workload

CONFIGURATION = """\
.:{port} {{
    bind {host}
    errors
{metadata}{taps}{cache}    forward . {upstream}
}}
"""

ENCRYPTED_UPSTREAM = """\
{url} {{
        tls {ca}
        tls_servername {name}
    }}"""

TAP = """\
    dnstap {path} full {{
        identity {identity}
{extra}    }}
"""

CACHE = """\
    cache {{
        success {entries}
    }}
"""
SPARE_ENTRIES = 2  # times the names: its cache is cut into 256 parts of fixed size, which fill unevenly
LEAST_ENTRIES = 10_000  # about its default


class CoreDns:
    """The proxy that people who forward with taps run today."""

    name = COREDNS

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return programs.first_line([self._program, "-version"])

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return [replace(tap, client_only=False) for tap in workload.taps]

    def remark(self, workload: Workload) -> str:
        return "all four types" if any(tap.client_only for tap in workload.taps) else ""

    def configure(self, site: Site) -> list[str]:
        configuration = site.folder / "Corefile"
        configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=site.port,
                upstream=_upstream(site),
                metadata="    metadata\n"
                if any(tap.extra for tap in site.workload.taps)
                else "",  # else nobody reads it
                taps="".join(self._taps(site)),
                cache=_cache(site.workload),
            )
        )
        return [self._program, "-conf", str(configuration), "-quiet"]

    def tap_counts(self, site: Site) -> list[TapCount] | None:
        return None

    def _taps(self, site: Site) -> list[str]:
        taps = zip(self.taps(site.workload), site.tap_paths, strict=True)
        return [
            TAP.format(path=path, identity=IDENTITY, extra=f'        extra "{tap.extra}"\n' if tap.extra else "")
            for tap, path in taps
        ]


def _upstream(site: Site) -> str:
    address = f"{HOST}:{site.upstream_port}"
    if site.workload.over == UDP:
        return address
    url = f"{'https' if site.workload.over == DOH else 'tls'}://{address}"  # the path is the usual one, and fixed
    return ENCRYPTED_UPSTREAM.format(url=url, ca=site.ca, name=SERVER_NAME)


def _cache(workload: Workload) -> str:
    if not workload.cache_octets:
        return ""
    return CACHE.format(entries=max(workload.questions.names * SPARE_ENTRIES, LEAST_ENTRIES))
