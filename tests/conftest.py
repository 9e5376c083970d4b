"""Fixtures of black-box tests: a proxy to start, upstreams to script, collectors to receive; all end with the test."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from trio.testing import MockClock

from tests.support.collector import Collector, unix_address
from tests.support.offline import Offline
from tests.support.proxy import Proxy
from tests.support.upstream import HostileUpstream

StartProxy = Callable[..., Proxy]

# How many examples a property is tried on: `make properties` tries many, the second build fewer than the first.
EXAMPLES = {"interpreted": 50, "compiled": 25, "thorough": 1000}
BUILD = os.environ.get("DNSPROXY_TEST_BUILD", "interpreted")
settings.register_profile(
    "dnsproxy",
    max_examples=EXAMPLES[os.environ.get("DNSPROXY_TEST_EXAMPLES", BUILD)],
    deadline=None,  # tests share their machine
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dnsproxy")


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
def offline() -> Iterator[Offline]:
    """A proxy's chain to be configured, without trio and without a network."""
    made = Offline()
    yield made
    made.close()
