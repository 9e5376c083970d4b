"""dnsmasq: forwarding alone, no cache, no files of the system read."""

from harness import programs
from harness.loopback import HOST
from harness.peers import Site, Tapless
from harness.workloads import DNSMASQ

AT_ONCE = 1_000  # queries: its default of 150 would be near to what is in flight


class Dnsmasq(Tapless):
    """What home routers forward with."""

    name = DNSMASQ

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return programs.first_line([self._program, "--version"]).partition("  ")[0]

    def configure(self, site: Site) -> list[str]:
        options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-poll"]
        options += ["--user=", "--pid-file=", "--log-facility=-", "--bind-interfaces", "--cache-size=0"]
        options += [f"--listen-address={HOST}", f"--port={site.port}", f"--server={HOST}#{site.upstream_port}"]
        return [self._program, *options, f"--dns-forward-max={AT_ONCE}"]
