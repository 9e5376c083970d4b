"""The upstream of most measurements: a local NSD, and the files of questions that it answers."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from harness import programs
from harness.children import Children
from harness.errors import BenchError
from harness.loopback import HOST, free_port, wait_for_answer
from harness.workloads import Questions

ZONE = "bench.example."
PROBE = f"name0.fresh.{ZONE}"  # what a program is asked until it answers
TEXT_OCTETS = 255  # of one character string in a TXT record
# Octets of an answer about size-N names: header, question, and a record whose owner is a pointer to the question.
ANSWER_HEAD_OCTETS, RECORD_HEAD_OCTETS = 12 + 4, 12
SIZES = (64, 128, 256, 512, 1_024, 1_400, 2_048, 4_000)

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
  ipv4-edns-size: 4096
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  verbosity: 0
remote-control:
  control-enable: yes
  control-interface: "{folder}/nsd.sock"
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
*.kept A 192.0.2.2
*.many 0 A 192.0.2.3
"""


class Upstream(Protocol):
    """Whom the programs under test ask."""

    port: int

    def asked(self) -> int | None:
        """Queries so far; None if it does not tell."""


class Nsd:
    """A running NSD."""

    def __init__(self, port: int, control: list[str]) -> None:
        self.port = port
        self._control = control

    def asked(self) -> int | None:
        done = subprocess.run([*self._control, "stats_noreset"], capture_output=True, text=True)
        counts = [line for line in done.stdout.splitlines() if line.startswith("num.queries=")]
        return int(counts[0].partition("=")[2]) if counts else None


def start(children: Children, folder: Path) -> Nsd:
    """Writes zone and configuration, starts NSD, returns when it answers."""
    nsd, control = programs.require("nsd"), programs.require("nsd-control")
    port = free_port()
    (folder / "bench.zone").write_text("".join(_zone()))
    configuration = folder / "nsd.conf"
    configuration.write_text(CONFIGURATION.format(host=HOST, port=port, folder=folder, zone=ZONE))
    child = children.start("nsd", [nsd, "-d", "-c", str(configuration)])
    wait_for_answer(port, PROBE, lambda: children.require_alive(child))
    return Nsd(port, [control, "-c", str(configuration)])


def question_file(folder: Path, questions: Questions) -> Path:
    """dnsperf's input, written once."""
    path = folder / f"{questions.label}-{questions.names}.txt"
    if not path.exists():
        names = (f"{qname(questions, number)} {questions.type}\n" for number in range(questions.names))
        path.write_text("".join(names))
    return path


def qname(questions: Questions, number: int) -> str:
    """The number-th name of a set."""
    return f"name{number}.{questions.label}.{ZONE}"


def questions_of_size(octets: int) -> Questions:
    """Questions whose answers have about that many octets, one of SIZES."""
    if octets not in SIZES:
        raise BenchError(f"no answer of {octets} octets is in the zone")
    return Questions(f"size-{octets}", type="TXT", edns=True)


def _zone() -> Iterator[str]:
    yield ZONE_HEAD.format(zone=ZONE)
    fresh = Questions("fresh")
    for number in range(fresh.names):
        yield f"{qname(fresh, number)} 0 A 192.0.2.{number % 254 + 1}\n"
    for octets in SIZES:
        yield f"*.size-{octets} 0 TXT {text_record(octets)}\n"


def text_record(octets: int) -> str:
    """Character strings that fill an answer up to about that size."""
    longest = len(qname(Questions(f"size-{octets}"), 999)) + 1
    left = max(octets - ANSWER_HEAD_OCTETS - RECORD_HEAD_OCTETS - longest, 1)
    strings = []
    while left > 0:
        size = min(left - 1, TEXT_OCTETS)
        strings.append(f'"{"x" * size}"')
        left -= size + 1
    return " ".join(strings)
