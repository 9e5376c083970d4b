"""Whole configuration files: what they become."""

import os
from pathlib import Path

import pytest

from dnsproxy.config import Configuration, Limits, load, parse
from dnsproxy.settings import default_admin_path
from tests.fake_plugins import CacheConfig, DnstapConfig, ForwardConfig, fakes

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]

EXAMPLE = b"\7example\3org\0"


def read(text: str) -> Configuration:
    return parse(text, "/etc/dnsproxy/x.toml")


def plugins(configuration: Configuration, server: int = 0) -> list[tuple[str, int]]:
    return [(each.name, len(each.stanzas)) for each in configuration.servers[server].plugins]


def test_an_empty_file_is_one_server_with_every_default() -> None:
    configuration = read("")
    (server,) = configuration.servers
    assert [str(address) for address in server.listen] == ["127.0.0.1:53", "[::1]:53"]
    assert server.zones == (b"\0",)
    assert "10.0.0.0/8" in map(str, server.allow)
    assert "0.0.0.0/0" not in map(str, server.allow)
    assert server.plugins == ()
    assert configuration.workers == 1
    assert configuration.limits == Limits()


@pytest.mark.parametrize(
    ("table", "addresses"),
    [
        ("", []),
        ("[metrics]", ["tcp://127.0.0.1:9153"]),
        ('[metrics]\nlisten = "192.0.2.1:80"', ["tcp://192.0.2.1:80"]),
        ('[metrics]\nlisten = ["127.0.0.1:0", "[::1]:9153"]', ["tcp://127.0.0.1:0", "tcp://[::1]:9153"]),
    ],
)
def test_metrics_are_served_where_the_table_says_on_loopback_unless_told_otherwise_and_nowhere_without_it(
    table: str, addresses: list[str]
) -> None:
    assert [str(address) for address in read(table).metrics] == addresses


def test_limits_have_the_documented_defaults() -> None:
    limits = Limits()
    assert (limits.queries, limits.queries_per_client, limits.run_tasks) == (20_000, 10_000, 1_000)
    assert (limits.tcp_connections, limits.tcp_connections_per_client, limits.tcp_queries) == (2_000, 50, 200)
    assert (limits.tcp_idle, limits.stop) == (30.0, 5.0)


def test_stanzas_become_instances_of_the_plugins_config() -> None:
    configuration = read(
        '[[forward]]\nto = ["192.0.2.1"]\nfrom = "example.org"\ntimeout = "500ms"\n[cache]\nsize = "1MiB"'
    )
    cache, forward = configuration.servers[0].plugins
    assert cache.stanzas == (CacheConfig(size=2**20),)
    assert isinstance(forward.stanzas[0], ForwardConfig)
    assert forward.stanzas[0].timeout == 0.5
    assert forward.stanzas[0].from_[0].names == (EXAMPLE,)


def test_a_single_table_is_the_same_as_one_of_several() -> None:
    assert read('[forward]\nto = ["192.0.2.1"]').servers == read('[[forward]]\nto = ["192.0.2.1"]').servers


def test_the_chain_is_by_stage_and_the_files_order_within_one() -> None:
    text = '[[forward]]\nto=["192.0.2.1"]\n[cache]\n[records]\nzones=["a"]\n'
    text += '[[dnstap]]\nsocket="/a"\n[[forward]]\nto=["192.0.2.2"]'
    assert plugins(read(text)) == [("dnstap", 1), ("records", 1), ("cache", 1), ("forward", 2)]


def test_order_overrides_the_stages() -> None:
    text = 'order = ["cache", "records", "forward"]\n[[forward]]\nto=["192.0.2.1"]\n[cache]\n[records]\nzones=["a"]'
    assert [name for name, _ in plugins(read(text))] == ["cache", "records", "forward"]


def test_plugins_that_order_does_not_name_stay_where_their_stage_puts_them() -> None:
    text = 'order = ["forward", "cache"]\n[[forward]]\nto=["192.0.2.1"]\n[cache]\n[[dnstap]]\nsocket="/a"'
    assert [name for name, _ in plugins(read(text))] == ["dnstap", "forward", "cache"]


def test_several_servers_have_their_own_keys() -> None:
    text = '[[server]]\nlisten=["127.0.0.1:1"]\nzones=["Example.ORG"]\n[server.cache]\n'
    configuration = read(
        text + '[[server]]\nlisten=["127.0.0.1:2"]\nallow=["192.0.2.0/24"]\n[[server.forward]]\nto=["192.0.2.1"]'
    )
    assert [str(server.listen[0]) for server in configuration.servers] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert [server.zones for server in configuration.servers] == [(EXAMPLE,), (b"\0",)]
    assert plugins(configuration, 0) == [("cache", 1)]
    assert plugins(configuration, 1) == [("forward", 1)]


def test_servers_for_different_zones_may_share_an_address() -> None:
    text = '[[server]]\nlisten=["127.0.0.1:1"]\nzones=["example.org"]\n[[server]]\nlisten=["127.0.0.1:1"]\n'
    assert len(read(text).servers) == 2


def test_udp_and_tcp_of_one_port_are_two_addresses() -> None:
    (server,) = read('listen = ["udp://127.0.0.1:1", "tcp://127.0.0.1:1"]').servers
    assert [address.urls for address in server.listen] == [("udp://127.0.0.1:1",), ("tcp://127.0.0.1:1",)]


def test_a_tap_at_the_top_is_shared_by_all_servers() -> None:
    text = '[[dnstap]]\nsocket="/a"\n[[server]]\nlisten=["127.0.0.1:1"]\n[[server.dnstap]]\nsocket="/b"\n'
    first, second = read(text + '[[server]]\nlisten=["127.0.0.1:2"]').servers
    assert first.plugins[0].stanzas == (DnstapConfig(socket="/a"), DnstapConfig(socket="/b"))
    assert second.plugins[0].stanzas[0] is first.plugins[0].stanzas[0]


def test_relative_paths_start_at_the_files_own_folder(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('admin = "run/admin.sock"\n[records]\nzones=["a"]\nfile="db.a"')
    configuration = load(str(file))
    assert configuration.servers[0].plugins[0].stanzas[0].file == str(tmp_path / "db.a")
    assert configuration.admin is not None
    assert configuration.admin.path == str(tmp_path / "run/admin.sock")
    assert configuration.admin.required


def test_a_port_can_be_replaced_in_listening_addresses_only() -> None:
    text = '[[server]]\nlisten=["127.0.0.1:5300", "udp://[::1]:5300"]\n[[server.forward]]\nto=["192.0.2.1:5300"]'
    (server,) = parse(text, "x.toml", {5300: 5400}).servers
    assert [str(address) for address in server.listen] == ["127.0.0.1:5400", "udp://[::1]:5400"]
    assert server.plugins[0].stanzas[0].to[0].port == 5300


def test_no_admin_socket_if_the_file_says_so() -> None:
    assert read("admin = false").admin is None


@pytest.mark.parametrize(
    ("environment", "is_root", "path"),
    [
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b", "XDG_RUNTIME_DIR": "/run/user/7"}, False, "/run/a/admin.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, True, "/run/user/7/dnsproxy/admin.sock"),
        ({}, True, "/run/dnsproxy/admin.sock"),
        ({}, False, None),
    ],
)
def test_the_admin_socket_has_a_default_that_depends_on_who_runs_us(
    environment: dict[str, str], is_root: bool, path: str | None
) -> None:
    assert default_admin_path(environment, is_root) == path


def test_the_default_admin_socket_is_not_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "RUNTIME_DIRECTORY", "/run/here")
    admin = read("").admin
    assert admin is not None
    assert (admin.path, admin.required) == ("/run/here/admin.sock", False)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbfworkers = 1")
    assert load(str(file)).workers == 1
