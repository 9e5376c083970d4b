"""The plugins of docs/plugins.md: taken from the page, installed as packages, and used."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.support import behaviours, wire
from tests.support.client import ask
from tests.support.collector import Collector, wait_until
from tests.support.documents import GUIDE, README, blocks, install_guide_packages, named_block
from tests.support.proxy import Proxy, run_dnsproxy
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

EXTRA = "{/nogo/name}"
ECS = (8, b"\0\1\x18\0\xc0\0\2")
SLOW_MS = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which every plugin of the guide is installed."""
    return install_guide_packages(tmp_path_factory.mktemp("site"))


upstream = shared_upstream()
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(
    upstream: HostileUpstream, collector: Collector, site: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """All plugins of the guide in one chain."""
    body = "".join(
        [
            stanza("[nogo]", {"zones": ["ads.example.org.", "tracker.example.com."]}),
            stanza("[pause]", {"delay": "100ms"}),
            stanza("[sinkhole]", {"zones": ["bad.example.org."], "address": "192.0.2.66"}),
            stanza("[nosubnet]", {}),
            stanza("[maxttl]", {"ttl": "60s"}),
            stanza("[types]", {}),
            stanza("[slow]", {"above": f"{SLOW_MS - 10}ms"}),
            stanza(
                "[canary]", {"server": "127.0.0.1", "port": upstream.port, "name": "canary.test.", "every": "200ms"}
            ),
            stanza("[journal]", {"file": "journal.txt"}),
            dnstap(to=collector, extra=EXTRA),
            forward(upstream),
        ]
    )
    with Proxy(tmp_path_factory.mktemp("proxy"), body, environment=site) as running:
        yield running


def test_the_readme_shows_the_plugin_that_the_guide_explains() -> None:
    for path in ("dnsproxy_nogo/__init__.py", "pyproject.toml"):
        assert named_block(README, path).text == named_block(GUIDE, path).text


def test_the_first_plugin_has_twenty_lines() -> None:
    text = named_block(GUIDE, "dnsproxy_nogo/__init__.py").text
    code = [line for line in text.splitlines() if line and not line.startswith(("#", '"""'))]
    assert 10 < len(code) <= 20


def test_the_first_plugin_answers_through_a_real_chain(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    answer = ask(wire.query("www.ads.example.org", edns=True), proxy.port)
    assert (answer.rcode(), wire.ede(answer)) == (dns.rcode.NXDOMAIN, (15, "this name is a no-go"))
    assert ask(wire.query("www.badads.example.org"), proxy.port).rcode() == dns.rcode.NOERROR
    assert not upstream.seen_for("ads")
    messages = collector.wait_about("ads", 2)
    assert [(one.type, one.extra) for one in messages] == [("CQ", "-"), ("CR", "www.ads.example.org.")]


def test_plugins_describes_it_as_the_guide_says(site: dict[str, str]) -> None:
    done = run_dnsproxy("plugins", "nogo", environment=site)
    (shown,) = [block.text for block in blocks(GUIDE) if "plugins nogo" in block.text]
    assert shown.endswith(done.stdout.replace("dnsproxy_nogo 1.0", "dnsproxy-nogo 1.0"))


def test_wrong_options_are_reported_as_the_guide_says(site: dict[str, str], tmp_path: Path) -> None:
    lines = 'listen = ["127.0.0.1:5300"]\n\n[pause]\ndelay = "10s"\ntypes = [255, 70000]\n'
    (tmp_path / "pause.toml").write_text(lines)
    done = run_dnsproxy("--config", "pause.toml", "--check", environment=site, folder=tmp_path)
    (shown,) = [block.text for block in blocks(GUIDE) if "--config pause.toml" in block.text]
    assert (done.returncode, done.stderr) == (2, shown.partition("\n")[2])


def test_a_query_may_wait_in_a_task(proxy: Proxy, collector: Collector) -> None:
    ask(wire.query("paused.example.org", "ANY"), proxy.port)
    asked, *_, answered = collector.wait_about("paused", 4)
    assert (answered.response_ns or 0) - (asked.query_ns or 0) >= 100_000_000


def test_an_answer_may_carry_a_policy_to_the_taps(proxy: Proxy, collector: Collector) -> None:
    answer = ask(wire.query("www.bad.example.org"), proxy.port)
    assert wire.addresses(answer) == ["192.0.2.66"]
    _, answered = collector.wait_about("bad", 2)
    assert answered.policy is not None
    assert b"sinkhole" in answered.policy
    assert wire.name_to_wire("www.bad.example.org") in answered.policy


def test_a_query_may_be_changed_for_what_follows(proxy: Proxy, upstream: HostileUpstream, collector: Collector) -> None:
    asked = wire.query("subnet.example.org", edns=True, options=[ECS])
    ask(asked, proxy.port)
    (seen,) = upstream.seen_for("subnet")
    assert dns.message.from_wire(seen.wire).options == ()
    messages = collector.wait_about("subnet", 4)
    assert [one.wire for one in messages[:2]] == [asked, seen.wire]


def test_an_answer_may_be_changed(proxy: Proxy) -> None:
    answer = ask(wire.query("lasting.example.org"), proxy.port)
    assert [rrset.ttl for rrset in answer.answer] == [60]


def test_an_observer_counts_for_status(proxy: Proxy) -> None:
    before = proxy.status()["plugins"]["types"]["queries"].get("MX", 0)
    ask(wire.query("counted.example.org", "MX"), proxy.port)
    after = proxy.status()["plugins"]["types"]
    assert after["queries"]["MX"] == before + 1
    assert after["responses"]["NOERROR"] >= 1


def test_a_plugin_may_be_a_tap(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("slow", behaviours.delay(SLOW_MS))
    ask(wire.query("slow.example.org"), proxy.port)
    ask(wire.query("quick.example.org"), proxy.port)
    assert proxy.status()["plugins"]["slow"] == {"slow": 1}
    proxy.wait_for_log(rf"127\.0\.0\.1:{upstream.port} took 0\.\d s for slow\.example\.org\.")


def test_a_plugin_may_send_its_own_messages_to_the_taps(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    messages = collector.wait_about("canary", 4)
    asked, answered = [next(one for one in messages if one.type == type) for type in ("TQ", "TR")]
    assert (asked.query_address, asked.response_port) == ("127.0.0.1", upstream.port)
    assert (asked.query_port, asked.query_ns) == (answered.query_port, answered.query_ns)
    assert answered.response_message in upstream.sent


def test_a_leased_thing_has_a_task_of_its_own(proxy: Proxy) -> None:
    ask(wire.query("journalled.example.org"), proxy.port)
    journal = proxy.folder / "journal.txt"
    wait_until(lambda: "journalled.example.org." in journal.read_text(), "the name is in the journal")


@pytest.mark.parametrize("path", ["test_nogo.py", "test_pause.py"])
def test_the_tests_of_the_guide_pass(path: str, site: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / path).write_text(named_block(GUIDE, path).text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path],
        cwd=tmp_path,
        env={**os.environ, **site},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
