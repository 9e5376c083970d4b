"""The kind of output that a stanza gets, and what a reload does with it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from dnsproxy_dnstap import Dnstap, outputs
from dnsproxy_dnstap.outputs import lease_key, make_output

from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.listening_output import ListeningOutput
from dnsproxy.dnstap.listening_tap import ListeningTap
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relayed_output import RelayedOutput
from dnsproxy.dnstap.socket_output import SocketOutput
from dnsproxy.plugin import Server
from tests.plugins.tap_configs import FILE, config

ALONE = cast("Server", SimpleNamespace(relay=None, listen=None, version="1.2.3"))
RELAYING = cast("Server", SimpleNamespace(relay=object(), listen="the supervisor", version="1.2.3"))
LISTEN = "tcp://127.0.0.1:6000"


class ToldTap(ListeningTap):
    """Keeps what it is told to be from now on."""

    def __init__(self) -> None:
        super().__init__(config(listen=LISTEN).output, LISTEN)
        self.told: list[OutputOptions] = []

    def configure(self, options: OutputOptions) -> None:
        self.told.append(options)


@pytest.mark.parametrize(
    ("keys", "server", "kind"),
    [
        ({}, ALONE, SocketOutput),
        ({"socket": "tls://192.0.2.1:6000", "connections": 4}, RELAYING, SocketOutput),
        ({"socket": FILE}, ALONE, FileOutput),
        ({"socket": FILE}, RELAYING, RelayedOutput),
    ],
)
def test_the_output_is_of_the_kind_that_the_address_says(keys: dict[str, Any], server: Server, kind: type[Any]) -> None:
    assert type(make_output(config(**keys).output, server)) is kind


def test_who_listens_has_the_address_at_once(tmp_path: Path) -> None:
    output = make_output(config(listen=f"unix://{tmp_path}/tap.sock").output, ALONE)
    assert isinstance(output, ListeningOutput)
    assert (tmp_path / "tap.sock").is_socket()
    output.close()


def test_with_several_workers_the_supervisor_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[OutputOptions, object]] = []
    relayed: Callable[..., None] = lambda *arguments: made.append(arguments)  # noqa: E731
    monkeypatch.setattr(outputs, "RelayedListeningOutput", relayed)
    options = config(listen=LISTEN).output
    make_output(options, RELAYING)
    assert made == [(options, "the supervisor")]


@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ({"full": True, "extra": "{name}", "types": "CQ", "zones": "example.org"}, True),
        ({"anonymize": {"ipv4": 8}, "sample": 0.5, "responses_with_queries": True, "full": True}, True),
        ({"queue": 5}, False),
        ({"name": "x"}, False),
        ({"spool": "/var/spool/x"}, False),
        ({"overflow": "oldest"}, False),
    ],
)
def test_what_does_not_concern_the_connection_keeps_it_across_a_reload(changed: dict[str, Any], is_kept: bool) -> None:
    assert (lease_key(config().output) == lease_key(config(**changed).output)) == is_kept


def test_a_listening_tap_is_kept_whatever_changes_but_its_address() -> None:
    before = lease_key(config(listen=LISTEN).output)
    assert before == lease_key(config(listen=LISTEN, name="x", queue=5, overflow="oldest").output)
    assert before != lease_key(config(listen="tcp://127.0.0.1:6001").output)


def test_a_listening_tap_is_told_of_changes_once_they_are_in_service() -> None:
    tap, changed = ToldTap(), config(listen=LISTEN, queue=5)
    plugin = Dnstap([changed])
    server = SimpleNamespace(lease=lambda _key, _factory: tap, version="1.2.3")
    plugin.bind([plugin], cast("Server", server))
    assert tap.told == []  # the reload may still fail
    trio.run(plugin.run)
    assert tap.told == [changed.output]
