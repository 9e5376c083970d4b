"""CoreDNS: forward over UDP, no cache, no log; its taps always have all four types."""

from collections.abc import Sequence
from dataclasses import replace

from harness import programs
from harness.collector import IDENTITY
from harness.loopback import HOST
from harness.peers import Site
from harness.workloads import Tap, Workload

CONFIGURATION = """\
.:{port} {{
    bind {host}
    errors
    metadata
{taps}    forward . {host}:{upstream_port}
}}
"""

TAP = """\
    dnstap {path} full {{
        identity {identity}
{extra}    }}
"""


class CoreDns:
    """The proxy that people who forward with taps run today."""

    name = "CoreDNS"

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return programs.first_line([self._program, "-version"])

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return [replace(tap, client_only=False) for tap in workload.taps]

    def remark(self, workload: Workload) -> str:
        return "all four types" if any(tap.client_only for tap in workload.taps) else ""

    def configure(self, site: Site) -> list[str]:
        taps = zip(self.taps(site.workload), site.tap_paths, strict=True)
        text = CONFIGURATION.format(
            host=HOST,
            port=site.port,
            upstream_port=site.upstream_port,
            taps="".join(
                TAP.format(path=path, identity=IDENTITY, extra=f'        extra "{tap.extra}"\n' if tap.extra else "")
                for tap, path in taps
            ),
        )
        if not site.workload.taps:
            text = text.replace("    metadata\n", "")  # it costs, and nobody reads it
        configuration = site.folder / "Corefile"
        configuration.write_text(text)
        return [self._program, "-conf", str(configuration), "-quiet"]

    def tap_counts(self, site: Site) -> list[tuple[int, int]] | None:
        return None
