"""The upstream of every measurement: a local NSD with a zone of a thousand names, and the queries for it."""

from dataclasses import dataclass
from pathlib import Path

from harness import programs
from harness.children import Children
from harness.errors import BenchError
from harness.loopback import HOST, free_port, wait_for_answer

ZONE = "bench.example."
NAMES = 1_000  # more than any program's per-question shortcut, few enough to stay in the processor's cache

CONFIGURATION = """\
server:
  ip-address: {host}@{port}
  server-count: 1
  username: ""
  chroot: ""
  pidfile: ""
  database: ""
  zonesdir: "{folder}"
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  xfrdir: "{folder}"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  verbosity: 0
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: bench.zone
"""

ZONE_HEAD = """\
$ORIGIN {zone}
$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 300
@ NS ns
ns A 192.0.2.1
"""


@dataclass(frozen=True)
class Upstream:
    """Where the upstream listens, and dnsperf's file of questions that it answers."""

    port: int
    queries: Path


def qname(number: int) -> str:
    """The number-th name of the zone."""
    return f"name{number:04}.{ZONE}"


def start(children: Children, folder: Path) -> Upstream:
    """Writes zone, queries and configuration, starts NSD, returns when it answers."""
    nsd = programs.find("nsd")
    if nsd is None:
        raise BenchError(programs.how_to_get("nsd"))
    upstream = Upstream(free_port(), folder / "queries.txt")
    upstream.queries.write_text("".join(f"{qname(number)} A\n" for number in range(NAMES)))
    (folder / "bench.zone").write_text(_zone())
    configuration = folder / "nsd.conf"
    configuration.write_text(CONFIGURATION.format(host=HOST, port=upstream.port, folder=folder, zone=ZONE))
    child = children.start("nsd", [nsd, "-d", "-c", str(configuration)])
    wait_for_answer(upstream.port, qname(0), lambda: children.require_alive(child))
    return upstream


def _zone() -> str:
    records = (f"{qname(number)} A 192.0.2.{number % 254 + 1}\n" for number in range(NAMES))
    return ZONE_HEAD.format(zone=ZONE) + "".join(records)
