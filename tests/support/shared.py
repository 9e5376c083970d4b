"""Fixtures that a whole module of tests shares: `upstream = shared_upstream()` in the module makes one of that name."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.behaviours import Behaviour
from tests.support.collector import Collector, unix_address
from tests.support.upstream import HostileUpstream


def shared_upstream(**by_label: Behaviour) -> Any:
    """An upstream that answers, but for names below these labels."""

    @pytest.fixture(scope="module")
    def upstream() -> Iterator[HostileUpstream]:
        with HostileUpstream() as server:
            for label, behaviour in by_label.items():
                server.on(label, behaviour)
            yield server

    return upstream


def shared_collector() -> Any:
    """A collector that listens on a unix socket."""

    @pytest.fixture(scope="module")
    def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
        with Collector(unix_address(tmp_path_factory.mktemp("tap"))) as receiver:
            yield receiver

    return collector
