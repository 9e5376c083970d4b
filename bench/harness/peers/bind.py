"""BIND as a forwarder: one worker thread, no validation; it always has a cache, which answers of TTL 0 pass by."""

from harness import programs
from harness.loopback import HOST
from harness.peers import Site, Tapless
from harness.workloads import BIND

CONFIGURATION = """\
options {{
  directory "{folder}";
  listen-on port {port} {{ {host}; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  allow-query {{ 127.0.0.0/8; }};
  recursion yes;
  recursive-clients 20000;
  forward only;
  forwarders {{ {host} port {upstream_port}; }};
  dnssec-validation no;
  minimal-responses yes;
  empty-zones-enable no;
}};
controls {{ }};
logging {{ category default {{ null; }}; }};
"""


class Bind(Tapless):
    """The oldest of them."""

    name = BIND

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return programs.first_line([self._program, "-v"]).partition(" (")[0]

    def configure(self, site: Site) -> list[str]:
        configuration = site.folder / "named.conf"
        configuration.write_text(
            CONFIGURATION.format(host=HOST, port=site.port, upstream_port=site.upstream_port, folder=site.folder)
        )
        return [self._program, "-f", "-n", "1", "-c", str(configuration)]
