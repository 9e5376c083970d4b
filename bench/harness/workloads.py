"""What is measured: each workload by name, in the terms of whoever configures a program for it or puts load on it."""

from dataclasses import dataclass

DNSDIST, COREDNS, UNBOUND, DNSMASQ, BIND, DNSLIB = "dnsdist", "CoreDNS", "unbound", "dnsmasq", "BIND", "dnslib"
EVERYONE = (DNSDIST, COREDNS, UNBOUND, DNSMASQ, BIND, DNSLIB)
JUDGED = (DNSDIST, COREDNS)  # the bars are multiples of these two
DOH_PATH = "/dns-query"
UDP, DOT, DOH = "udp", "dot", "doh"  # how upstreams are asked; encrypted ones show a certificate for SERVER_NAME
SERVER_NAME = "dot.bench.example"


@dataclass(frozen=True)
class Tap:
    """One dnstap output with full messages."""

    extra: str | None = None
    client_only: bool = False


@dataclass(frozen=True)
class Questions:
    """A set of names that the upstream answers; `type` A, or TXT for answers of `octets`.

    Answers about `fresh` names have TTL 0, so that nobody can keep them; those about `kept` ones an hour.
    """

    label: str
    names: int = 1_000  # more than any program's per-question shortcut, few enough to stay in the processor's cache
    type: str = "A"
    edns: bool = False


@dataclass(frozen=True)
class Saturated:
    """As fast as answers come, with a number of queries in flight; `rate` is a ceiling in queries/s."""

    in_flight: int = 100
    clients: int = 1
    rate: int | None = None


@dataclass(frozen=True)
class Paced:
    """Evenly spaced queries, each one's answer timed."""

    rate: int


@dataclass(frozen=True)
class Held:
    """A number of queries in flight at once, since the upstream keeps them waiting."""

    queries: int


@dataclass(frozen=True)
class PassThrough:
    """Third-party plugins that pass every query on: by `handle` as a function, or as a coroutine."""

    number: int
    coroutine: bool = False


FRESH = Questions("fresh")
KEPT = Questions("kept")
MANY = Questions("many", names=10_000)  # no two in flight are equal, which would be asked for once
SATURATED = Saturated()
CACHE_OCTETS = 64 << 20


@dataclass(frozen=True)
class Workload:
    """A name for the tables, what the programs under test are asked to do, under which load, and which peers are."""

    name: str
    title: str
    taps: tuple[Tap, ...] = ()
    cache_octets: int = 0  # 0: no cache
    load: Saturated | Paced | Held = SATURATED
    questions: Questions = FRESH
    upstream_delay_s: float | None = None  # None: a server that answers at once
    pass_through: PassThrough | None = None
    workers: int = 1
    over: str = UDP
    peers: tuple[str, ...] = JUDGED
    both_builds: bool = False  # whether the interpreted twin of a compiled proxy is measured beside it

    def messages_per_query(self, tap: Tap) -> int:
        """CLIENT_QUERY and CLIENT_RESPONSE; FORWARDER_QUERY and FORWARDER_RESPONSE too when somebody is asked."""
        return 2 if tap.client_only or self.cache_octets else 4


UPSTREAM_EXTRA = "upstream: {/forward/upstream}"

FORWARD = Workload("forward", "forward", peers=EVERYONE, both_builds=True)
FORWARD_DOT = Workload("forward-dot", "forward over DoT", over=DOT, both_builds=True)
FORWARD_DOH = Workload("forward-doh", "forward over DoH", over=DOH, both_builds=True)
TWO_TAPS = Workload("two-taps", "forward + two full taps", taps=(Tap(extra=UPSTREAM_EXTRA), Tap()), both_builds=True)
CLIENT_TAP = Workload("client-tap", "forward + one client-only tap", taps=(Tap(client_only=True),))
CACHE_HIT = Workload(
    "cache-hit",
    "cache hit",
    cache_octets=CACHE_OCTETS,
    questions=KEPT,
    peers=(DNSDIST, COREDNS, UNBOUND),
    both_builds=True,
)
CACHE_HIT_TAP = Workload(
    "cache-hit-tap", "cache hit + one full tap", (Tap(),), CACHE_OCTETS, questions=KEPT, both_builds=True
)
PACED = tuple(
    Workload(f"paced-{rate}", f"forward at {in_words}/s", load=Paced(rate))
    for rate, in_words in ((500, "500"), (2_000, "2 000"), (10_000, "10 000"))
)
PACED_500, PACED_2000, PACED_10000 = PACED
TAPS_20000 = Workload(
    "taps-20000",
    "forward + two full taps at 20 000/s",
    taps=TWO_TAPS.taps,
    load=Saturated(in_flight=1_000, rate=20_000),
    peers=(),
)
IN_FLIGHT = Workload(
    "in-flight",
    "10 000 queries in flight",
    load=Held(10_000),
    questions=MANY,
    upstream_delay_s=1.5,  # below the 2 s after which programs ask again
)

WORKLOADS = (
    FORWARD,
    FORWARD_DOT,
    FORWARD_DOH,
    TWO_TAPS,
    CLIENT_TAP,
    CACHE_HIT,
    CACHE_HIT_TAP,
    *PACED,
    TAPS_20000,
    IN_FLIGHT,
)
