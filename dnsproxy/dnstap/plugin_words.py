"""What is said about a message beside its octets, policy and labels, as a tap may see it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dnsproxy import wire
from dnsproxy.dnstap.anonymizer import Anonymizer
from dnsproxy.dnstap.rename import Renamer
from dnsproxy.dnstap.traces import AddressTrace, NameTrace
from dnsproxy.message import Policy

ZONE, RULE = "forward/zone", "policy/rule"
# labels of our own, which speak of us and of upstreams, and are not searched for what others may have put there
OWN_LABELS: Final = frozenset(
    f"""
    query/id query/protocol cache/state dnstap/sample
    forward/upstream forward/attempt forward/attempts forward/outcome forward/rtt {ZONE}
    """.split()
)
BY_NAME: Final = frozenset(["QNAME", "NS_NAME"])  # Policy.match
BY_CLIENT: Final = "CLIENT_IP"
_DIGIT: Final = re.compile(rb"[0-9]")


class Hidden:
    """What must not show in words about a query: its client's address, and with a renamer its name and zones."""

    __slots__ = ("_address", "_folded", "_name", "anonymizer", "renamer")

    def __init__(
        self, anonymizer: Anonymizer | None, renamer: Renamer | None, address: AddressTrace | None, folded: bytes
    ) -> None:
        self.anonymizer = anonymizer
        self.renamer = renamer
        self._address = address
        self._folded = folded
        self._name: NameTrace | None = None  # made when there is something to look at

    def shows_in(self, octets: bytes) -> bool:
        """Whether the octets tell what must not be told."""
        if self._address is not None and self._address.is_in(octets):
            return True
        if self.renamer is None:
            return False
        if self._name is None:
            self._name = NameTrace(self._folded)
        return self._name.is_in(octets)


def visible_policy(policy: Policy, hidden: Hidden) -> Policy:
    """A policy without a rule or value that tells what is hidden.

    A rule that matched the client stays if there is no digit in it: with one it may well be an address or a network.
    """
    rule, value = policy.rule, policy.value
    if hidden.anonymizer is not None and policy.match == BY_CLIENT:
        rule = None if rule is not None and _DIGIT.search(rule) else rule
        value = hidden.anonymizer.address(value) if value is not None and len(value) in (4, 16) else None
    if hidden.renamer is not None and policy.match in BY_NAME:
        rule = value = None
    if rule is not None and hidden.shows_in(rule):
        rule = None
    if value is not None and hidden.shows_in(value):
        value = None
    return Policy(policy.type, rule, policy.action, policy.match, value)


def visible_labels(labels: Mapping[str, object], hidden: Hidden, policy: Policy | None) -> dict[str, object]:
    """A query's labels without those that tell what is hidden; `policy` is the visible one, if there is any."""
    seen = {key: value for key, value in labels.items() if key in OWN_LABELS or not _tells(value, hidden)}
    if policy is not None and RULE in seen:
        seen[RULE] = policy.rule_text
    if hidden.renamer is not None and ZONE in seen:
        seen[ZONE] = _renamed(str(seen[ZONE]), hidden.renamer)
    return seen


def _renamed(name: str, renamer: Renamer) -> str | None:
    try:
        return wire.name_to_text(renamer.name(wire.name_from_text(name).lower()))
    except ValueError:  # no name: somebody else's value
        return None


def _tells(value: object, hidden: Hidden) -> bool:
    if value is None or isinstance(value, int | float):
        return False
    if isinstance(value, bytes) and hidden.shows_in(value):
        return True
    try:
        return hidden.shows_in(str(value).encode("utf-8", "surrogatepass"))
    except Exception:  # noqa: BLE001  some plugin's value and its __str__: what cannot be looked at is not shown
        return True
