"""Policies and labels as a tap may see them."""

import ipaddress

import pytest

from dnsproxy import wire
from dnsproxy.dnstap.anonymizer import Prefixing
from dnsproxy.dnstap.plugin_words import Hidden, visible_labels, visible_policy
from dnsproxy.dnstap.rename import Renamer
from dnsproxy.message import Policy
from tests.dnstap.hiding import packed, trace

NAME = wire.name_from_text("www.example.org")
ADDRESS_HIDDEN = Hidden(Prefixing(24, 56), None, trace("192.0.2.77", "192.0.2.0"), NAME)
NAME_HIDDEN = Hidden(None, Renamer(None), None, NAME)
HASHED = Hidden(None, Renamer(b"key"), None, NAME)


def fields(policy: Policy) -> tuple[str | None, bytes | None, str | None, str | None, bytes | None]:
    return policy.type, policy.rule, policy.action, policy.match, policy.value


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("nasty")


@pytest.mark.parametrize("hidden", [ADDRESS_HIDDEN, NAME_HIDDEN])
def test_a_policy_that_tells_nothing_stays(hidden: Hidden) -> None:
    policy = Policy("forward", b"max_concurrent", "DROP", "RESPONSE_IP", packed("198.51.100.1"))
    assert fields(visible_policy(policy, hidden)) == fields(policy)


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        (b"guests", b"guests"),
        (b"192.0.2.64/26", None),
        (b"list 2", None),
        (b"\x0232\x0277\x012\x010\x03192\x0drpz-client-ip\0", None),
        (None, None),
    ],
)
def test_a_rule_about_the_client_stays_if_it_is_no_network(rule: bytes | None, seen: bytes | None) -> None:
    policy = Policy("RPZ", rule, "NXDOMAIN", "CLIENT_IP", packed("192.0.2.77"))
    assert fields(visible_policy(policy, ADDRESS_HIDDEN)) == ("RPZ", seen, "NXDOMAIN", "CLIENT_IP", packed("192.0.2.0"))


def test_a_value_about_the_client_that_is_no_address_goes() -> None:
    policy = Policy("RPZ", None, None, "CLIENT_IP", b"192.0.2.77")
    assert visible_policy(policy, ADDRESS_HIDDEN).value is None


@pytest.mark.parametrize("told", [b"for 192.0.2.77", packed("192.0.2.77"), b"\x0277\x012\x010\x03192"])
def test_rules_and_values_that_have_the_clients_address_in_them_go(told: bytes) -> None:
    seen = visible_policy(Policy("x", told, None, "RESPONSE_IP", told), ADDRESS_HIDDEN)
    assert (seen.type, seen.rule, seen.value) == ("x", None, None)


@pytest.mark.parametrize("match", ["QNAME", "NS_NAME"])
def test_what_matched_a_name_goes_with_the_name(match: str) -> None:
    seen = visible_policy(Policy("RPZ", b"ads", "NXDOMAIN", match, b"\3ads\0"), NAME_HIDDEN)
    assert fields(seen) == ("RPZ", None, "NXDOMAIN", match, None)


@pytest.mark.parametrize("told", [NAME, b"*.Example.org", b"list: www.example.org."])
def test_rules_and_values_that_have_the_name_in_them_go(told: bytes) -> None:
    seen = visible_policy(Policy("x", told, value=told), NAME_HIDDEN)
    assert (seen.rule, seen.value) == (None, None)
    assert fields(visible_policy(Policy("x", told, value=told), ADDRESS_HIDDEN)) == ("x", told, None, None, told)


@pytest.mark.parametrize(
    "value", ["192.0.2.77:5353", ipaddress.ip_address("192.0.2.77"), packed("192.0.2.77"), Nasty(), ["192.0.2.77"]]
)
def test_labels_that_have_the_clients_address_in_them_go(value: object) -> None:
    labels = {"query/id": "0", "acl/client": value, "acl/size": 77, "acl/none": None, "acl/group": "guests"}
    assert visible_labels(labels, ADDRESS_HIDDEN, None) == {
        "query/id": "0",
        "acl/size": 77,
        "acl/none": None,
        "acl/group": "guests",
    }


def test_labels_about_upstreams_stay_though_the_client_may_be_one() -> None:
    labels: dict[str, object] = {"forward/upstream": "192.0.2.77:53", "forward/zone": "."}
    assert visible_labels(labels, ADDRESS_HIDDEN, None) == labels


def test_labels_that_have_the_name_in_them_go() -> None:
    labels = {
        "rewrite/from": "WWW.example.org.",
        "rewrite/zone": "example.org",
        "forward/upstream": "ns.example.org:53",
    }
    assert visible_labels(labels, NAME_HIDDEN, None) == {"forward/upstream": "ns.example.org:53"}


def test_the_forwarded_zone_is_a_name_too() -> None:
    digest = wire.name_to_text(Renamer(b"key").name(wire.name_from_text("example.org")))
    assert visible_labels({"forward/zone": "Example.org."}, NAME_HIDDEN, None) == {"forward/zone": "."}
    assert visible_labels({"forward/zone": "Example.org."}, HASHED, None) == {"forward/zone": digest}
    assert visible_labels({"forward/zone": "."}, HASHED, None) == {"forward/zone": "."}
    assert visible_labels({"forward/zone": "a..b"}, HASHED, None) == {"forward/zone": None}


def test_the_label_of_a_rule_follows_the_policy() -> None:
    labels = {"policy/rule": "192.0.2.64/26"}
    policy = visible_policy(Policy("acl", b"192.0.2.64/26", match="CLIENT_IP"), ADDRESS_HIDDEN)
    assert visible_labels(labels, ADDRESS_HIDDEN, policy) == {"policy/rule": None}
    assert visible_labels({}, ADDRESS_HIDDEN, policy) == {}
