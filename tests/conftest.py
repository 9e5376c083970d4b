"""Fixtures of black-box tests: a proxy to start, upstreams to script, collectors to receive; all end with the test."""

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

from tests.support.collector import Collector, unix_address
from tests.support.offline import Offline
from tests.support.proxy import Proxy
from tests.support.upstream import HostileUpstream

ROOT = Path(__file__).parent
StartProxy = Callable[..., Proxy]
SetZone = Callable[[str], None]

# How many examples a property is tried on: `make properties` tries many, the second build fewer than the first.
EXAMPLES = {"interpreted": 40, "compiled": 25, "thorough": 1000}
BUILD = os.environ.get("DNSPROXY_TEST_BUILD", "interpreted")
settings.register_profile(
    "dnsproxy",
    max_examples=EXAMPLES[os.environ.get("DNSPROXY_TEST_EXAMPLES", BUILD)],
    deadline=None,  # tests share their machine
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dnsproxy")

# Tried on the first build only: documents, the layout, and processes and files about which no compiled module decides.
ONCE = (
    "bench/*",
    "ci/*",
    "interop/test_dnstap_disk.py",
    "scenarios/test_bad_plugins.py",
    "scenarios/test_dnstap_cost.py",
    "scenarios/test_dnstap_listening*.py",
    "scenarios/test_dnstap_reopening.py",
    "scenarios/test_dnstap_rotation.py",
    "scenarios/test_forward_scale.py",
    "scenarios/test_long_runs.py",
    "scenarios/test_metrics.py",
    "scenarios/test_start_and_stop.py",
    "scenarios/test_status.py",
    "scenarios/test_workers*.py",
    "tap/commands/test_follow.py",
    "tap/commands/test_record.py",
    "tap/commands/test_s*.py",
    "tap/commands/test_top.py",
    "tap/report/*",
    "tap/test_docs*.py",
    "test_activation.py",
    "test_docs.py",
    "test_layers.py",
    "test_options.py",
    "test_plugin_guide.py",
    "test_reference.py",
    "test_toml_lines.py",
    "workers/*",
)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell has it for what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests start would ignore it too


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files in an order that is no order, the same each time: those that compute then stand between those that wait."""
    items.sort(key=lambda item: hashlib.sha256(_place(item).encode()).digest())
    if BUILD == "compiled":
        once = [item for item in items if any(fnmatchcase(_place(item), pattern) for pattern in ONCE)]
        config.hook.pytest_deselected(items=once)
        items[:] = [item for item in items if item not in set(once)]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Octets are named by their place: some have an ID of chance, and processes must agree on the tests there are."""
    return argname if isinstance(val, bytes) else None


def _place(item: pytest.Item) -> str:
    return str(item.path.relative_to(ROOT))


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    """What a test runs in this process may change what signals do; what it starts would inherit that."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture
def start_proxy(
    tmp_path: Path, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> Iterator[StartProxy]:
    """Starts a proxy with this configuration; when the test ends it must stop with status 0 and no traceback.

    It asks for the others so that they outlive the proxy.
    """
    with contextlib.ExitStack() as stack:

        def start(body: str, **options: Any) -> Proxy:
            return stack.enter_context(Proxy(tmp_path, body, **options))

        yield start


@pytest.fixture
def upstream() -> Iterator[HostileUpstream]:
    """A scripted upstream on UDP and TCP."""
    with HostileUpstream() as server:
        yield server


@pytest.fixture
def second_upstream() -> Iterator[HostileUpstream]:
    """Another one, which answers 192.0.2.2."""
    with HostileUpstream(answer_address="192.0.2.2") as server:
        yield server


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    """A collector that listens on a unix socket."""
    with Collector(unix_address(tmp_path)) as receiver:
        yield receiver


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps: waiting costs a test nothing."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def patient_clock() -> MockClock:
    """One that jumps only when the kernel's own timers, such as TCP's for delayed acknowledgements, had their time."""
    return MockClock(autojump_threshold=0.3)


@pytest.fixture
def set_zone() -> Iterator[SetZone]:
    """Sets the zone of local time, for us and for what we start, until the test ends."""
    with pytest.MonkeyPatch.context() as patch:

        def to(zone: str) -> None:
            patch.setenv("TZ", zone)
            time.tzset()

        yield to
    time.tzset()


@pytest.fixture
def offline() -> Iterator[Offline]:
    """A proxy's chain to be configured, without trio and without a network."""
    made = Offline()
    yield made
    made.close()
