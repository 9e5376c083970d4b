"""dnsdist: one listener, one UDP server, a packet cache if a cache is asked for; its dnstap knows CLIENT_* only."""

from collections.abc import Sequence

from harness import programs
from harness.collector import IDENTITY
from harness.loopback import HOST
from harness.peers import Site, TapCount
from harness.workloads import DNSDIST, DOH, DOH_PATH, SERVER_NAME, UDP, Tap, Workload

CONFIGURATION = """\
setSecurityPollSuffix("")
setACL({{"{host}/32"}})
setLocal("{host}:{port}")
newServer({{address="{host}:{upstream_port}"{tls}}})
getServer(0):setUp()
"""

# Pipelined, as unbound answers: its default of no query beside another over a connection would be unfair.
ENCRYPTED_SERVER = ', tls="openssl", subjectName="{name}", caStore="{ca}", validateCertificates=true, maxInFlight=100'

# The largest queue that libfstrm allows: with its default of 512 most messages would be dropped at this rate.
TAP = """\
tap = newFrameStreamUnixLogger("{path}", {{inputQueueSize=16384}})
addAction(AllRule(), DnstapLogAction("{identity}", tap))
addResponseAction(AllRule(), DnstapLogResponseAction("{identity}", tap))
addCacheHitResponseAction(AllRule(), DnstapLogResponseAction("{identity}", tap))
"""

CACHE = 'getPool(""):setCache(newPacketCache({entries}))\n'
SPARE_ENTRIES = 2  # times the names: it is cut into parts of fixed size, which fill unevenly
LEAST_ENTRIES = 10_000


class Dnsdist:
    """The C++ proxy that sets the mark for cost."""

    name = DNSDIST

    def __init__(self, program: str) -> None:
        self._program = program

    def version(self) -> str:
        return programs.first_line([self._program, "--version"])

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return [Tap(client_only=True)] if workload.taps else []

    def remark(self, workload: Workload) -> str:
        asked = [tap.client_only or bool(workload.cache_octets) for tap in workload.taps]
        return "" if asked in ([], [True]) else "one tap, CLIENT_* only"

    def configure(self, site: Site) -> list[str]:
        tls = "" if site.workload.over == UDP else ENCRYPTED_SERVER.format(name=SERVER_NAME, ca=site.ca)
        tls += f', dohPath="{DOH_PATH}"' if site.workload.over == DOH else ""
        text = CONFIGURATION.format(host=HOST, port=site.port, upstream_port=site.upstream_port, tls=tls)
        for _tap, path in zip(self.taps(site.workload), site.tap_paths, strict=False):
            text += TAP.format(path=path, identity=IDENTITY)
        if site.workload.cache_octets:
            text += CACHE.format(entries=max(site.workload.questions.names * SPARE_ENTRIES, LEAST_ENTRIES))
        configuration = site.folder / "dnsdist.conf"
        configuration.write_text(text)
        return [self._program, "--supervised", "--disable-syslog", "-C", str(configuration)]

    def tap_counts(self, site: Site) -> list[TapCount] | None:
        return None
