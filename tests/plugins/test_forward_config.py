"""The keys of `[[forward]]`: what they may be, what they become, and what is wrong with them."""

import base64
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from dnsproxy_forward import ForwardConfig
from dnsproxy_forward.config import UpstreamTable
from dnsproxy_forward.supply import upstream_options
from dnsproxy_forward.words import Hedge, Prefixes

from dnsproxy import config
from dnsproxy.address import Address
from dnsproxy.convert import read_table
from dnsproxy.upstream.options import HealthOptions, HttpOptions, TlsOptions, UpstreamOptions
from tests.support.offline import Offline
from tests.support.toml import stanza

A = "192.0.2.1"
PIN = base64.b64encode(b"x" * 32).decode()
FOLDER = Path("/")


def read(**keys: object) -> ForwardConfig:
    outcome = read_table(ForwardConfig, {"to": [A], **keys}, FOLDER)
    assert outcome.errors == []
    assert outcome.value is not None
    return outcome.value


def wrong(**keys: object) -> list[str]:
    """Each error as `path message`."""
    errors = read_table(ForwardConfig, {"to": [A], **keys}, FOLDER).errors
    return [f"{'.'.join(map(str, error.place))} {error.message}" for error in errors]


def options(**keys: object) -> UpstreamOptions:
    """Of the first upstream, were it at 192.0.2.7."""
    config = read(**keys)
    return upstream_options(config, config.upstreams[0], Address.of("192.0.2.7", 853))


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


def test_an_upstream_with_options_of_its_own_is_described_by_its_address() -> None:
    to = [A, {"address": f"tls://{A}", "server_name": "dns.example.net"}, {"address": f"tcp://{A}", "weight": 2}]
    chain = Offline().configure(stanza("[[forward]]", {"to": to}))
    assert chain.plugins[0].describe() == [f"forwards . to {A}:53, tls://{A}:853, tcp://{A}:53"]


def test_the_defaults_are_those_of_the_documents() -> None:
    config = read()
    assert (config.policy, config.parallel_width, config.hedge, config.next_on_nodata) == ("random", 2, None, False)
    assert (config.all_down, config.slow_start, config.ecs, config.cookies) == ("spray", 5.0, "pass", False)
    assert (config.method, config.idle_timeout, config.max_age, config.edns_size) == ("POST", 10.0, None, None)
    assert options() == UpstreamOptions(Address.of("192.0.2.7", 853))
    assert options().edits.is_empty
    assert HealthOptions() == HealthOptions(b"\0", 2, 0.5, 2, 3, True)


def test_an_upstream_may_be_a_table_with_what_is_its_own() -> None:
    config = read(
        to=["192.0.2.1", {"address": "tls://192.0.2.2", "server_name": "b.example.net", "weight": 2, "group": 3}],
        server_name="a.example.net",
        pins=[PIN],
    )
    first, second = config.upstreams
    assert first == UpstreamTable(address=first.address)
    assert (second.weight, second.group) == (2, 3)
    assert config.tls(second) == TlsOptions(server_name="b.example.net", pins=(b"x" * 32,))


@pytest.mark.parametrize(
    ("to", "keys", "name"),
    [
        ("tls://192.0.2.1", {}, None),
        ("tls://192.0.2.1", {"server_name": "s.example.net"}, "s.example.net"),
        ("tls://192.0.2.1%a.example.net", {"server_name": "s.example.net"}, "a.example.net"),
        ("https://a.example.net/dns-query", {}, "a.example.net"),
        ("quic://a.example.net.", {"server_name": "s.example.net"}, "a.example.net"),
    ],
)
def test_the_name_in_the_certificate_is_the_one_nearest_to_the_upstream(
    to: str, keys: dict[str, str], name: str | None
) -> None:
    tls = options(to=[to], **keys).tls
    assert tls is not None
    assert tls.server_name == name


def test_only_encrypted_upstreams_are_verified_and_padded() -> None:
    assert options(to=["tcp://192.0.2.1"]).tls is None
    for scheme in ("tls", "https", "quic", "h3"):
        found = options(to=[f"{scheme}://192.0.2.1"])
        assert found.tls is not None
        assert found.edits.padding
        assert found.is_encrypted
    assert not options(to=["tcp://192.0.2.1"]).edits.padding


def test_a_doh_upstream_knows_authority_path_and_method() -> None:
    found = options(to=["https://dns.example.net:8443/q"], method="GET")
    assert found.http == HttpOptions("dns.example.net:8443", "/q", "GET")
    assert found.url == "https://192.0.2.7:853/q"
    assert options(to=["tls://192.0.2.1"]).http is None


def test_what_is_changed_in_queries_is_the_upstreams_own() -> None:
    edits = options(edns_size=1232, ecs={"ipv4": 20}, qname_case="0x20", cookies=True).edits
    assert (edits.edns_size, edits.ecs, edits.mixed_case, edits.cookies) == (1232, (20, 56), True, True)
    assert options(ecs="strip").edits.ecs == "strip"
    assert read(ecs={"ipv4": 0, "ipv6": 0}).ecs == Prefixes(ipv4=0, ipv6=0)


def test_health_is_a_table() -> None:
    health = {"name": "Example.org", "type": "SOA", "interval": "2s", "rise": 1, "fall": 5, "servfail_is_up": False}
    assert options(health=health).health == HealthOptions(b"\7example\3org\0", 6, 2.0, 1, 5, False)


@pytest.mark.parametrize(
    ("text", "hedge"), [("p95", Hedge(percentile=95)), ("30ms", Hedge(seconds=0.03)), ("p50", Hedge(percentile=50))]
)
def test_a_hedge_is_a_percentile_or_a_duration(text: str, hedge: Hedge) -> None:
    assert read(hedge=text).hedge == hedge


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"hedge": "p100"}, 'hedge "p100" will not do; expected "p50" to "p99"'),
        ({"hedge": "p10"}, 'hedge "p10" is out of range'),
        ({"hedge": "0s"}, 'hedge "0s" is too small'),
        ({"hedge": 5}, "hedge 5 is a number"),
        ({"pins": ["abc"]}, 'pins.0 "abc" is no pin; expected base64'),
        ({"pins": [PIN, PIN]}, "pins.1 "),
        ({"ecs": "yes"}, 'ecs "yes" is not known'),
        ({"ecs": {"ipv4": 33}}, "ecs.ipv4 33 is too large"),
        ({"ecs": {"ipv5": 24}}, 'ecs.ipv5 unknown key "ipv5"; did you mean "ipv'),
        ({"edns_size": 511}, "edns_size 511 is too small"),
        ({"qname_case": "0x21"}, "qname_case "),
        ({"health": {"fall": 0}}, "health.fall 0 is too small"),
        ({"health": {"interval": "1ms"}}, "health.interval "),
        ({"health": "on"}, 'health "on" is a string; expected a table with name, type, interval'),
        ({"mark": -1}, "mark -1 is too small"),
        ({"source_address": "eth0"}, "source_address "),
        ({"source_address": ["192.0.2.1", "192.0.2.2"]}, "source_address has two of one family"),
        ({"bootstrap": ["dns.example.net"]}, "bootstrap.0 "),
        ({"bootstrap": ["192.0.2.1:0"]}, "bootstrap.0 "),
        ({"method": "PUT"}, "method "),
        ({"parallel_width": 1}, "parallel_width 1 is too small"),
        ({"policy": "fastest"}, "policy "),
        ({"all_down": "panic"}, "all_down "),
        ({"to": [A, {"address": A}]}, 'to.1 "192.0.2.1:53" is given twice'),
        ({"to": [{"weight": 2}]}, "to.0.address missing"),
        ({"to": [{"address": A, "weight": 0}]}, "to.0.weight 0 is too small"),
        ({"to": [{"address": "ftp://192.0.2.1"}]}, 'to.0.address "ftp://" is not spoken'),
        ({"to": [{"address": A, "wait": 1}]}, 'to.0.wait unknown key "wait"'),
    ],
)
def test_what_will_not_do_is_told_at_its_key(keys: dict[str, object], message: str) -> None:
    (found,) = wrong(**keys)
    assert found.startswith(message)


# what only shows in the whole file


def errors(text: str) -> list[str]:
    try:
        config.parse(f"admin = false\n{text}", "/offline.toml")
    except config.ConfigErrors as found:
        return [str(error) for error in found.errors]
    return []


def test_certificates_and_keys_are_read_before_anything_is_opened(tmp_path: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    cert, bad, key = tmp_path / "cert.pem", tmp_path / "bad.pem", tmp_path / "other.key"
    issued = ca.issue_cert("a.example.net")
    cert.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    key.write_bytes(other.issue_cert("a.example.net").private_key_pem.bytes())
    bad.write_text("no PEM")
    to = "tls://192.0.2.1"
    assert errors(stanza("[[forward]]", {"to": [to], "cert": str(cert)})) == []
    for keys, place in (
        ({"ca": str(bad)}, "[forward[0].ca]"),
        ({"ca": str(tmp_path / "missing.pem")}, "[forward[0].ca]"),
        ({"cert": str(cert), "key": str(key)}, "[forward[0].key]"),
        ({"key": str(key)}, "[forward[0].key]"),
    ):
        (error,) = errors(stanza("[[forward]]", {"to": [to], **keys}))
        assert place in error
    (error,) = errors(f'[[forward]]\nto = [{{address = "{to}", ca = "{bad}"}}]\n')
    assert "[forward[0].to" in error
    assert "ca" in error


def test_an_encrypted_key_is_an_error_and_no_question_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "own.pem"
    issued = trustme.CA().issue_cert("a.example.net")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    path.write_bytes(locked + b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (error,) = errors(stanza("[[forward]]", {"to": ["tls://192.0.2.1"], "cert": str(path)}))
    assert "(the key is encrypted); expected the PEM private key" in error


def test_keys_about_certificates_beside_a_plain_upstream_are_an_error() -> None:
    (error,) = errors('[[forward]]\nto = [{address = "192.0.2.1", server_name = "a.example.net"}]\n')
    assert "is not encrypted; expected tls://" in error


@pytest.mark.parametrize(("scheme", "extra"), [("https", "http"), ("quic", "quic"), ("h3", "quic")])
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = stanza("[[forward]]", {"to": [f"{scheme}://192.0.2.1"]})
    assert errors(text) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    (error,) = errors(text)
    assert f"pip install 'dnsproxy-tap[{extra}]'" in error
