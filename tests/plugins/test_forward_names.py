"""Upstreams that are given by name or by file: looked up, looked up again, watched."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trio
import trustme
from dnsproxy_forward import Forward
from dnsproxy_forward.lookup import AGAIN_S, MAX_TTL_S, SYSTEM_TTL_S, BootstrapLookup
from trio.testing import MockClock, trio_test

from tests.plugins.forwarding import bound
from tests.support.offline import Offline, answering
from tests.support.toml import stanza

A, B = "127.0.0.1", "127.0.0.2"


# names by the system


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
async def running(resolver: Resolver, *to: str, **keys: object) -> AsyncIterator[tuple[Forward, Offline, float]]:
    """The plugin at work, and how long its start took."""
    trio.socket.set_custom_hostname_resolver(resolver)
    plugin, offline = bound(*to, **keys)
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
        await trio.sleep(SYSTEM_TTL_S / 2)
        assert resolver.asked == ["one"]


@trio_test
async def test_a_name_is_looked_up_again_and_what_is_new_is_asked_in_place_of_what_is_gone(
    autojump_clock: MockClock,
) -> None:
    resolver = Resolver(one="127.0.0.1 127.0.0.2")
    async with running(resolver, "one.example.net", "127.0.0.9") as (_, offline, _):
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.2:53", "127.0.0.9:53"}
        resolver.known["one"] = "127.0.0.2 127.0.0.3"
        await trio.sleep(SYSTEM_TTL_S + 1)
        assert set(offline.upstreams) == {"127.0.0.2:53", "127.0.0.3:53", "127.0.0.9:53"}, "the rest is given back"


@trio_test
async def test_when_nobody_answers_the_last_addresses_stay(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    resolver = Resolver(one="127.0.0.1")
    async with running(resolver, "one.example.net") as (_, offline, _):
        resolver.known["one"] = socket.gaierror(-3, "Temporary failure in name resolution")
        await trio.sleep(SYSTEM_TTL_S * 4)
        assert list(offline.upstreams) == ["127.0.0.1:53"]
        (message,) = caplog.messages
        assert message.endswith("staying with 127.0.0.1")


@trio_test
async def test_a_new_address_while_a_certificate_is_gone_is_told_and_ends_nothing(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca))
    resolver = Resolver(one=A)
    to: Any = {"address": "tls://one.example.net", "ca": str(ca)}
    async with running(resolver, to, B) as (_, offline, _):
        assert set(offline.upstreams) == {f"{A}:853", f"{B}:53"}
        ca.rename(tmp_path / "gone.pem")
        resolver.known["one"] = "127.0.0.3"
        await trio.sleep(SYSTEM_TTL_S + 1)
        assert "upstream tls://127.0.0.3:853 cannot be asked: [Errno 2] No such file" in caplog.text
        assert set(offline.upstreams) == {f"{B}:53"}


@trio_test
async def test_an_upstream_that_another_stanza_still_asks_is_kept(autojump_clock: MockClock) -> None:
    resolver = Resolver(one="127.0.0.1")
    trio.socket.set_custom_hostname_resolver(resolver)
    offline = Offline()
    text = stanza("[[forward]]", {"to": ["one.example.net"], "from": "org"}) + stanza("[[forward]]", {"to": [A]})
    (plugin,) = offline.configure(text).plugins
    async with trio.open_nursery() as nursery:
        await nursery.start(plugin.run)
        assert list(offline.upstreams) == ["127.0.0.1:53"]
        resolver.known["one"] = "127.0.0.2"
        await trio.sleep(SYSTEM_TTL_S + 1)
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.2:53"}
        nursery.cancel_scope.cancel()
    trio.socket.set_custom_hostname_resolver(None)
    offline.close()


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
        await trio.sleep(SYSTEM_TTL_S + 6)
        (work,) = offline.chain.plugins[0].work if offline.chain else []  # type: ignore[attr-defined]
        assert [upstream.name for upstream in work.upstreams] == ["127.0.0.1:53", "127.0.0.2:53"]


@trio_test
async def test_a_slow_name_holds_up_neither_the_start_nor_the_others(autojump_clock: MockClock) -> None:
    resolver = Resolver(one="127.0.0.1", slow="127.0.0.2", three="127.0.0.3")
    resolver.slow["slow"] = 20.0
    async with running(resolver, "one.example.net", "slow.example.net", "three.example.net") as (_, offline, took_s):
        assert took_s <= 0.31
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.3:53"}
        await trio.sleep(30)
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.2:53", "127.0.0.3:53"}


@trio_test
async def test_a_resolv_conf_that_comes_later_is_read_then(autojump_clock: MockClock, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    async with running(Resolver(), str(path)) as (_, offline, _):
        await trio.sleep(10)
        path.write_text("nameserver 127.0.0.1\n")
        await trio.sleep(2)
        assert list(offline.upstreams) == ["127.0.0.1:53"]


@trio_test
@pytest.mark.parametrize("how", ["rewritten", "replaced"])
async def test_a_resolv_conf_that_changes_is_seen_within_two_seconds(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    path, new = tmp_path / "resolv.conf", tmp_path / "new"
    path.write_text("nameserver 127.0.0.1\n")
    async with running(Resolver(), str(path)) as (_, offline, _):
        await trio.sleep(3)
        (path if how == "rewritten" else new).write_text("nameserver 127.0.0.2\n")
        if how == "replaced":
            new.rename(path)
        await trio.sleep(2)
        assert list(offline.upstreams) == ["127.0.0.2:53"]


@trio_test
@pytest.mark.parametrize("text", ["", "search example.org\n", None])
async def test_an_empty_or_missing_resolv_conf_changes_nothing(
    text: str | None, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\n")
    async with running(Resolver(), str(path)) as (_, offline, _):
        path.unlink() if text is None else path.write_text(text)
        await trio.sleep(10)
        assert list(offline.upstreams) == ["127.0.0.1:53"]
        (message,) = caplog.messages
        assert message.endswith("staying with 127.0.0.1")


@trio_test
async def test_a_resolv_conf_that_comes_to_name_this_server_is_no_loop(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.2\n")
    monkeypatch.setattr(Offline, "listens_on", lambda _self, host, port, scheme: (host, port) == (A, 53))
    async with running(Resolver(), str(path)) as (_, offline, _):
        path.write_text("nameserver 127.0.0.1\n")
        await trio.sleep(10)
        assert list(offline.upstreams) == ["127.0.0.2:53"]
        (message,) = caplog.messages
        assert "a listener of this very server" in message


@trio_test
async def test_a_reload_while_nobody_answers_or_the_file_is_empty_forgets_no_address(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    resolver = Resolver(one="127.0.0.1")
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.3\n")
    async with running(resolver, "one.example.net", str(file)) as (plugin, offline, _):
        assert set(offline.upstreams) == {"127.0.0.1:53", "127.0.0.3:53"}
        resolver.known.clear()
        file.write_text("")
        again = Forward(plugin.stanzas)
        again.bind([again], cast("Any", offline))
        known = [upstream.name for upstream in again.work[0].upstreams]
        assert known == ["127.0.0.1:53", "127.0.0.3:53"], "before anything has been looked up"


@trio_test
async def test_both_generations_see_a_change(autojump_clock: MockClock) -> None:
    resolver = Resolver(one="127.0.0.1")
    async with running(resolver, "one.example.net") as (plugin, offline, _), trio.open_nursery() as nursery:
        again = Forward(plugin.stanzas)
        again.bind([again], cast("Any", offline))
        await nursery.start(again.run)
        resolver.known["one"] = "127.0.0.2"
        offline.give_back = lambda key: None  # type: ignore[method-assign]  # it does not count holders
        await trio.sleep(SYSTEM_TTL_S + 1)
        for generation in (plugin, again):
            assert [upstream.name for upstream in generation.work[0].upstreams] == ["127.0.0.2:53"]
        nursery.cancel_scope.cancel()


# names by resolvers of our own


class Zone:
    """A resolver on loopback, by what it is told to say."""

    def __init__(self) -> None:
        self.socket = trio.socket.socket(type=socket.SOCK_DGRAM)
        self.records = {"A": [A], "AAAA": list[str]()}
        self.ttl = 300
        self.refused = ""  # a type that it does not tell
        self.rcode = dns.rcode.NOERROR
        self.is_silent = False
        self.asked = 0
        self.port = 0

    async def serve(self) -> None:
        while True:
            octets, client = await self.socket.recvfrom(4096)
            self.asked += 1
            if not self.is_silent:
                await self.socket.sendto(self.reply(dns.message.from_wire(octets)).to_wire(), client)

    def reply(self, query: dns.message.Message) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        (question,) = query.question
        kind = dns.rdatatype.to_text(question.rdtype)
        reply.set_rcode(dns.rcode.SERVFAIL if kind == self.refused else self.rcode)
        if reply.rcode() == dns.rcode.NOERROR:
            alias = f"alias.{question.name}"
            reply.answer.append(dns.rrset.from_text(question.name, self.ttl * 10, "IN", "CNAME", alias))
            if self.records[kind]:
                reply.answer.append(dns.rrset.from_text(alias, self.ttl, "IN", kind, *self.records[kind]))
        return reply


@asynccontextmanager
async def zone() -> AsyncIterator[Zone]:
    served = Zone()
    with served.socket:
        await served.socket.bind((A, 0))
        served.port = served.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.serve)
            yield served
            nursery.cancel_scope.cancel()


@trio_test
async def test_addresses_come_with_the_least_ttl_of_their_chain() -> None:
    async with zone() as served:
        served.records = {"A": [B, A], "AAAA": ["::1"]}
        found = await BootstrapLookup([(A, served.port)]).resolve("dns.example.net", 53)
        assert set(found.addresses) >= {A, B}
        assert found.addresses[:2] == (A, B), "IPv4 first, and in an order that stays"
        assert found.ttl_s == 300
        for ttl, expected_s in ((0, 1.0), (864000, MAX_TTL_S)):
            served.ttl = ttl
            assert (await BootstrapLookup([(A, served.port)]).resolve("dns.example.net", 53)).ttl_s == expected_s


@trio_test
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
async def test_the_next_resolver_is_asked_when_one_cannot_say(rcode: dns.rcode.Rcode) -> None:
    async with zone() as bad, zone() as good:
        bad.rcode = rcode
        found = await BootstrapLookup([(A, bad.port), (A, good.port)]).resolve("dns.example.net", 53)
        assert found.addresses == (A,)
        assert bad.asked == 2, "A and AAAA"


@trio_test
@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL])
async def test_no_address_is_an_error(rcode: dns.rcode.Rcode) -> None:
    async with zone() as served:
        served.rcode = rcode
        with pytest.raises(OSError, match=r"has no addresses|SERVFAIL"):
            await BootstrapLookup([(A, served.port)]).resolve("dns.example.net", 53)


@trio_test
async def test_silence_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy_forward.lookup.RESOLVER_TIMEOUT_S", 0.05)
    async with zone() as served:
        served.is_silent = True
        with pytest.raises(OSError, match=r"127\.0\.0\.1"), trio.fail_after(2):
            await BootstrapLookup([(A, served.port)]).resolve("dns.example.net", 53)


@trio_test
async def test_bootstrap_resolvers_are_asked_in_place_of_the_system_and_again_when_the_ttl_is_over() -> None:
    async with zone() as served:
        served.ttl = 1
        keys = {"bootstrap": f"{A}:{served.port}"}
        system = Resolver()
        async with running(system, "dns.example.net:5301", **keys) as (_, offline, took_s):
            assert took_s < 0.3
            assert list(offline.upstreams) == ["127.0.0.1:5301"]
            served.records["A"] = [B]
            with trio.fail_after(5):
                while list(offline.upstreams) != ["127.0.0.2:5301"]:  # noqa: ASYNC110  no event tells
                    await trio.sleep(0.02)
            served.is_silent = True
            await trio.sleep(1.2)
            assert list(offline.upstreams) == ["127.0.0.2:5301"]
            assert system.asked == []


@trio_test
async def test_when_only_one_kind_of_addresses_can_be_had_those_of_the_other_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with zone() as served:
        served.records = {"A": [A], "AAAA": ["::1"]}
        lookup = BootstrapLookup([(A, served.port)])
        before = await lookup.resolve("dns.example.net", 53)
        served.refused = "A"
        now = await lookup.resolve("dns.example.net", 53)
        assert (now.addresses, now.ttl_s) == (before.addresses, AGAIN_S)
        fresh = BootstrapLookup([(A, served.port)])
        assert (await fresh.resolve("dns.example.net", 53)).addresses == ("::1",)
