"""An NSD with a small zone, and a proxy in front of it, once for each module of tests."""

from collections.abc import Iterator

import pytest

from tests.support.name_servers import Nsd, nsd
from tests.support.proxy import Proxy
from tests.support.toml import forward


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nsd]:
    with nsd(tmp_path_factory.mktemp("nsd")) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(authority: Nsd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Forwards everything to the NSD."""
    with Proxy(tmp_path_factory.mktemp("proxy"), forward(authority, timeout="2s", deadline="4s")) as running:
        yield running
