"""What may stand in `to`, and how names and files become addresses to ask."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from dnsproxy_forward import Forward, ForwardConfig
from dnsproxy_forward.targets import Target, nameservers
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, trio_test

from dnsproxy import config
from dnsproxy.convert import read_table
from tests.support.offline import Offline, answering
from tests.support.toml import stanza

A = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port"),
    [
        ("192.0.2.1", None, "192.0.2.1", 53),
        ("192.0.2.1:5353", None, "192.0.2.1", 5353),
        ("2001:db8::1", None, "2001:db8::1", 53),
        ("[2001:db8::1]", None, "2001:db8::1", 53),
        ("[2001:db8::1]:5353", None, "2001:db8::1", 5353),
        ("udp://192.0.2.1", "udp", "192.0.2.1", 53),
        ("tcp://[2001:db8::1]:53/", "tcp", "2001:db8::1", 53),
        ("resolver.example.net", None, "resolver.example.net", 53),
        ("tcp://resolver.example.net.:5353", "tcp", "resolver.example.net.", 5353),
        ("a_b-c.example.net", None, "a_b-c.example.net", 53),
    ],
)
def test_an_upstream_is_an_address_or_a_name_with_or_without_scheme_and_port(
    text: str, scheme: str | None, host: str, port: int
) -> None:
    target = Target.from_toml(text)
    assert (target.scheme, target.host, target.port, target.file) == (scheme, host, port, "")
    assert target.is_address == (not host.strip(".").endswith("net"))
    assert Target.from_toml(str(target)) == target


@pytest.mark.parametrize("path", ["/etc/resolv.conf", "./resolv.conf", "some/where"])
def test_what_has_a_slash_and_no_scheme_is_a_file(path: str) -> None:
    target = Target.from_toml(path)
    assert (target.file, target.is_address, str(target)) == (path, False, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quic://192.0.2.1", "is not spoken by this version; expected udp:// or tcp://"),
        ("192.0.2.1:0", "port 0"),
        ("192.0.2.1:65536", "port"),
        ("192.0.2.1:x", "port"),
        ("", "expected"),
        ("192.0.2.256", "neither an IP address nor a host name"),
        ("a..b", "neither an IP address nor a host name"),
        ("bücher.example", "neither an IP address nor a host name"),
        ("-", "neither an IP address nor a host name"),
        ("resolver.example.net " + "x" * 64, "neither an IP address nor a host name"),
        ("2001:db8::g", "expected"),
        ("[2001:db8::1", "expected"),
    ],
)
def test_anything_else_is_an_error_that_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target.from_toml(text)


@given(st.text(max_size=40))
def test_any_text_is_a_target_or_a_value_error(text: str) -> None:
    try:
        target = Target.from_toml(text)
    except ValueError:
        return
    assert bool(target.file) != bool(target.host)
    assert 0 < target.port < 65536


# resolv.conf


def test_nameservers_are_read_in_order_and_the_rest_is_passed_over() -> None:
    text = (
        "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\n\nsearch example.org\n"
        "nameserver 192.0.2.1\nnameserver\t2001:db8::1   # a comment\n  nameserver 192.0.2.2 trailing\n"
        "nameserver 192.0.2.1\nnameserver\nnameserver example.org\nNAMESERVER 192.0.2.3\nnameservers 192.0.2.4\n"
        "options timeout:1\n" + "nameserver 192.0.2." + "5" * 5000
    )
    assert nameservers(text) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


@given(st.text())
def test_any_file_has_nameservers_or_none(text: str) -> None:
    assert all(isinstance(host, str) for host in nameservers(text))


def bound(*to: str, **keys: object) -> tuple[Forward, Offline]:
    offline = Offline()
    chain = offline.configure(stanza("[[forward]]", {"to": list(to), **keys}))
    (plugin,) = chain.plugins
    assert isinstance(plugin, Forward)
    return plugin, offline


def test_a_resolv_conf_is_read_when_the_chain_is_bound(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nnameserver ::1\n")
    _, offline = bound(str(path), "192.0.2.7:5353")
    assert list(offline.upstreams) == ["127.0.0.1:53", "[::1]:53", "192.0.2.7:5353"]


@pytest.mark.parametrize("text", ["search example.org\n", None])
def test_a_resolv_conf_without_nameservers_is_a_warning(
    text: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    plugin, offline = bound(str(path))
    assert offline.upstreams == {}
    (message,) = caplog.messages
    assert str(path) in message
    plugin.bind([plugin], offline)  # type: ignore[arg-type]
    assert len(caplog.messages) == 1


def loops(listen: str, *to: str, **keys: object) -> list[str]:
    """What is wrong with upstreams beside these listeners."""
    text = f'listen = ["{listen}"]\nadmin = false\n{stanza("[[forward]]", {"to": list(to), **keys})}'
    try:
        config.parse(text, "/offline.toml")
    except config.ConfigErrors as errors:
        return [error.message for error in errors.errors]
    return []


@pytest.mark.parametrize(
    ("listen", "to", "keys", "is_loop"),
    [
        ("127.0.0.1:5300", "127.0.0.1:5300", {}, True),
        ("127.0.0.1:5300", "tcp://127.0.0.1:5300", {}, True),
        ("0.0.0.0:5300", "127.0.0.1:5300", {}, True),
        ("127.0.0.1:5300", "127.0.0.1:5301", {}, False),
        ("127.0.0.1:5300", "127.0.0.2:5300", {}, False),
        ("udp://127.0.0.1:5300", "tcp://127.0.0.1:5300", {}, False),
        ("udp://127.0.0.1:5300", "127.0.0.1:5300", {"force_tcp": True}, False),
        ("tcp://127.0.0.1:5300", "127.0.0.1:5300", {"prefer_udp": True}, False),
    ],
)
def test_a_listener_of_the_same_server_is_no_upstream(listen: str, to: str, keys: Any, is_loop: bool) -> None:
    messages = loops(listen, to, **keys)
    assert bool(messages) == is_loop
    assert all("a loop" in message for message in messages)


def test_a_resolv_conf_that_names_this_server_is_a_loop_too(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\nnameserver 127.0.0.1\n")
    (message,) = loops("127.0.0.1:53", str(path))
    assert "names 127.0.0.1" in message
    assert loops("127.0.0.1:5300", str(path)) == []


# names


class Resolver(trio.abc.HostnameResolver):
    """Knows some names, some of them after a while."""

    def __init__(self, **known: str | OSError) -> None:
        self.known = known
        self.asked: list[str] = []
        self.slow: dict[str, float] = {}

    async def getaddrinfo(self, host: Any, port: Any, family: int = 0, *rest: Any, **more: Any) -> Any:
        name = host.decode().split(".")[0]
        self.asked.append(name)
        await trio.sleep(self.slow.get(name, 0.01))
        answer = self.known.get(name, socket.gaierror(-2, "Name or service not known"))
        if isinstance(answer, OSError):
            raise answer
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, port)) for address in answer.split()]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def running(resolver: Resolver, *to: str) -> AsyncIterator[tuple[Forward, Offline, float]]:
    """The plugin at work, and how long its start took."""
    trio.socket.set_custom_hostname_resolver(resolver)
    plugin, offline = bound(*to)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(plugin.run)
        yield plugin, offline, trio.current_time() - began
        nursery.cancel_scope.cancel()
    trio.socket.set_custom_hostname_resolver(None)
    offline.close()


@trio_test
async def test_names_are_known_before_the_first_query(autojump_clock: MockClock) -> None:
    resolver = Resolver(one="127.0.0.1 127.0.0.2")
    async with running(resolver, "one.example.net:5301") as (_, offline, took_s):
        assert list(offline.upstreams) == ["127.0.0.1:5301", "127.0.0.2:5301"]
        assert took_s < 0.1
        offline.network.scripts = dict.fromkeys(offline.upstreams, answering())
        assert offline.ask().addresses == ["192.0.2.1"]
        await trio.sleep(60)
        assert resolver.asked == ["one"]


@trio_test
async def test_a_name_that_cannot_be_resolved_is_told_once_and_tried_until_it_can(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    resolver = Resolver(one="127.0.0.1")
    async with running(resolver, "one.example.net", "two.example.net") as (_, offline, _):
        await trio.sleep(60)
        assert list(offline.upstreams) == ["127.0.0.1:53"]
        assert len([message for message in caplog.messages if "cannot resolve two.example.net" in message]) == 1
        resolver.known = {"one": OSError("gone"), "two": "127.0.0.2"}
        await trio.sleep(6)
        (work,) = offline.chain.plugins[0].work if offline.chain else []  # type: ignore[attr-defined]
        assert [upstream.name for upstream in work.upstreams] == ["127.0.0.1:53", "127.0.0.2:53"]
        asked = len(resolver.asked)
        await trio.sleep(60)
        assert len(resolver.asked) == asked


@trio_test
async def test_a_slow_name_holds_up_neither_the_start_nor_the_others(autojump_clock: MockClock) -> None:
    resolver = Resolver(one="127.0.0.1", slow="127.0.0.2", three="127.0.0.3")
    resolver.slow["slow"] = 20.0
    async with running(resolver, "one.example.net", "slow.example.net", "three.example.net") as (_, offline, took_s):
        assert took_s <= 0.31
        assert list(offline.upstreams) == ["127.0.0.1:53"]
        await trio.sleep(30)
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.2:53", "127.0.0.3:53"}


@trio_test
async def test_a_resolv_conf_that_comes_later_is_read_then(autojump_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    async with running(Resolver(), str(path)) as (_, offline, _):
        await trio.sleep(10)
        path.write_text("nameserver 127.0.0.1\n")
        await trio.sleep(6)
        assert list(offline.upstreams) == ["127.0.0.1:53"]


# the keys


def test_rcodes_are_names_or_numbers() -> None:
    outcome = read_table(
        ForwardConfig, {"to": [A], "failover": ["SERVFAIL", "refused", 23], "next": ["NXDOMAIN"]}, Path("/")
    )
    assert outcome.value is not None
    assert (outcome.value.failover, outcome.value.next) == ((2, 5, 23), (3,))


@pytest.mark.parametrize(("upstreams", "attempts"), [(1, 2), (2, 4), (3, 6), (10, 6)])
def test_the_default_number_of_attempts_is_twice_the_upstreams_within_bounds(upstreams: int, attempts: int) -> None:
    outcome = read_table(ForwardConfig, {"to": [A]}, Path("/"))
    assert outcome.value is not None
    assert outcome.value.attempts(upstreams) == attempts


def test_two_stanzas_ask_an_address_over_one_pool(tmp_path: Path) -> None:
    offline = Offline()
    text = "".join(
        stanza("[[forward]]", {"from": zone, "to": [A], "timeout": t}) for zone, t in ((".", "1s"), ("org", "3s"))
    )
    chain = offline.configure(text)
    (upstream,) = offline.upstreams.values()
    assert upstream.timeout_s == 3.0, "the longest that an exchange there is waited for"
    assert chain.plugins[0].describe() == [f"forwards . to {A}:53", f"forwards org. to {A}:53"]
