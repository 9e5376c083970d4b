"""unbound as a forwarder: one thread, no validation; without a cache nothing is kept longer than 0 s."""

from harness import programs
from harness.loopback import HOST
from harness.peers import Site, Tapless
from harness.workloads import UNBOUND

CONFIGURATION = """\
server:
  verbosity: 0
  interface: {host}@{port}
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  num-threads: 1
  module-config: "iterator"
  chroot: ""
  username: ""
  pidfile: ""
  directory: "{folder}"
  use-syslog: no
  do-daemonize: no
{cache}
forward-zone:
  name: "."
  forward-addr: {host}@{upstream_port}
remote-control:
  control-enable: no
"""
NO_CACHE = "  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n"
CACHE = "  msg-cache-size: {octets}\n  rrset-cache-size: {octets}\n"


class Unbound(Tapless):
    """A resolver that many run for forwarding."""

    name = UNBOUND

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return f"unbound {programs.first_line([self._program, '-V']).removeprefix('Version ')}"

    def configure(self, site: Site) -> list[str]:
        octets = site.workload.cache_octets
        configuration = site.folder / "unbound.conf"
        configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=site.port,
                upstream_port=site.upstream_port,
                folder=site.folder,
                cache=CACHE.format(octets=octets) if octets else NO_CACHE,
            )
        )
        return [self._program, "-d", "-c", str(configuration)]
