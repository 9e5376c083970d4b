"""The names of the zones as a tree, and which of them answers for a name (RFC 1034 section 4.3.2, RFC 4592)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import dns.name
import dns.node
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME
from dns.rdtypes.ANY.SOA import SOA

from dnsproxy_records.zonefile import Problem, Record

ROOT = b"\0"
ASTERISK = b"\x01*"

# The SOA of a zone whose text has none: RFC 6303 section 3, but answers that something is missing are kept for a minute
# only, as such zones are edited by hand.
SOA_TTL_S = 60
SOA_TEXT = "{apex} nobody.invalid. 1 3600 1200 604800 60"


class Zone:
    """A zone: its apex, and the SOA that goes with negative answers, its TTL as RFC 2308 section 3 has it."""

    __slots__ = ("apex", "negative_soa", "wire")

    def __init__(self, wire: bytes) -> None:
        self.wire = wire
        self.apex = name_of(wire)
        self.negative_soa = dns.rdataset.Rdataset(dns.rdataclass.IN, dns.rdatatype.SOA)


class Node:
    """A name that exists, if only because names below it do, with its RRsets and its child `*`."""

    __slots__ = ("line", "name", "rrsets", "wildcard", "wire", "zone")

    def __init__(self, wire: bytes, zone: Zone, line: int) -> None:
        self.wire = wire
        self.name = name_of(wire)
        self.zone = zone
        self.line = line  # of the record that brought it into being
        self.rrsets: list[dns.rdataset.Rdataset] = []
        self.wildcard: Node | None = None

    def select(self, qtype: int) -> list[dns.rdataset.Rdataset]:
        """The RRsets that answer a question for `qtype`; ANY takes them all (RFC 8482 section 4 lets us choose)."""
        return [rrset for rrset in self.rrsets if qtype in (rrset.rdtype, dns.rdatatype.ANY)]

    def alias(self) -> dns.rdataset.Rdataset | None:
        """The CNAME RRset."""
        return next((rrset for rrset in self.rrsets if rrset.rdtype == dns.rdatatype.CNAME), None)

    def redirection(self) -> dns.rdataset.Rdataset | None:
        """The DNAME RRset."""
        return next((rrset for rrset in self.rrsets if rrset.rdtype == dns.rdatatype.DNAME), None)


class Match(NamedTuple):
    """What the zones hold for a name: `node` answers for it, None when it does not exist.

    `encloser` is the name itself, or the closest encloser when the node is a wildcard, when there is none, or when the
    encloser's DNAME answers (`redirected`).
    """

    node: Node | None
    encloser: Node
    redirected: bool = False


class Tree:
    """All names of all zones, by lower-cased wire form."""

    def __init__(self, zones: Iterable[bytes]) -> None:
        self.zones = {wire: Zone(wire) for wire in zones}
        self.nodes: dict[bytes, Node] = {}
        for wire, zone in self.zones.items():
            self._grow(wire, zone, 0)

    def match(self, folded: bytes) -> Match | None:
        """Who answers for a lower-cased wire name; None when it is in none of the zones."""
        node = self.nodes.get(folded)
        if node is not None:
            return Match(node, node)
        for ancestor in ancestors(folded):
            encloser = self.nodes.get(ancestor)
            if encloser is not None:
                if encloser.redirection() is not None:
                    return Match(encloser, encloser, redirected=True)
                return Match(encloser.wildcard, encloser)
        return None

    def plant(self, records: Sequence[Record]) -> list[Problem]:
        """Take in the records of all zones; what cannot be taken is left out and reported."""
        problems = []
        for record in records:
            try:
                self._add(record)
            except ValueError as exc:
                problems.append(Problem(record.line, str(exc)))
        for zone in self.zones.values():
            self._set_soa(zone)
        return problems + list(self._hidden_names())

    def _add(self, record: Record) -> None:
        wire = record.owner.to_digestable()
        zone = self._zone_of(wire)
        if zone is None:
            raise ValueError(f"{record.owner} is outside of the zones; expected a name in one of `zones`")
        rdata = record.rdata
        if dns.rdatatype.is_metatype(rdata.rdtype):
            raise ValueError(f"{record.owner} has a record of type {rdata.rdtype:d}; expected a type that holds data")
        if rdata.rdtype == dns.rdatatype.SOA and wire != zone.wire:
            raise ValueError(f"{record.owner} has a SOA; expected one at the zone's own name, {zone.apex}")
        node = self._grow(wire, zone, record.line)
        rrset = _rrset_for(node, rdata)
        if len(rrset) and rdata not in rrset and dns.rdatatype.is_singleton(rdata.rdtype):
            raise ValueError(f"{record.owner} has a second {rdata.rdtype.name}; expected one")
        rrset.add(rdata, record.ttl)

    def _zone_of(self, wire: bytes) -> Zone | None:
        for ancestor in (wire, *ancestors(wire)):
            if ancestor in self.zones:
                return self.zones[ancestor]
        return None

    def _grow(self, wire: bytes, zone: Zone, line: int) -> Node:
        """The node of that name, made with all names between it and its zone, or the zone that its zone lies in."""
        node = self.nodes.get(wire)
        if node is None:
            node = self.nodes[wire] = Node(wire, zone, line)
            parent_wire = wire[wire[0] + 1 :] if wire != ROOT else ROOT
            parent_zone = self._zone_of(parent_wire) if wire != ROOT else None
            if parent_zone is not None:
                parent = self._grow(parent_wire, parent_zone, line)
                if wire.startswith(ASTERISK):
                    parent.wildcard = node
        return node

    def _set_soa(self, zone: Zone) -> None:
        node = self.nodes[zone.wire]
        soas = node.select(dns.rdatatype.SOA)
        if not soas:
            text = SOA_TEXT.format(apex=zone.apex)
            soas = [dns.rdataset.from_text(dns.rdataclass.IN, dns.rdatatype.SOA, SOA_TTL_S, text)]
            node.rrsets += soas
        soa = cast("SOA", soas[0][0])
        zone.negative_soa.add(soa, min(soas[0].ttl, soa.minimum))

    def _hidden_names(self) -> Iterator[Problem]:
        """Names below a DNAME, where no data can be (RFC 6672 section 2.4)."""
        if not any(node.redirection() for node in self.nodes.values()):
            return
        for node in self.nodes.values():
            above = [self.nodes[wire] for wire in ancestors(node.wire) if wire in self.nodes]
            if node.rrsets and any(ancestor.redirection() for ancestor in above):
                yield Problem(node.line, f"{node.name} is below a DNAME; expected no names there")


def _rrset_for(node: Node, rdata: dns.rdata.Rdata) -> dns.rdataset.Rdataset:
    """The node's RRset that `rdata` belongs to, made if need be; ValueError where a CNAME would have company."""
    covers = rdata.covers()
    kinds = {dns.node.NodeKind.classify_rdataset(rrset) for rrset in node.rrsets}
    kinds.add(dns.node.NodeKind.classify(rdata.rdtype, covers))
    if {dns.node.NodeKind.CNAME, dns.node.NodeKind.REGULAR} <= kinds:
        raise ValueError(f"{node.name} has a CNAME and other data; expected one or the other")
    for rrset in node.rrsets:
        if rrset.rdtype == rdata.rdtype and rrset.covers == covers:
            return rrset
    rrset = dns.rdataset.Rdataset(dns.rdataclass.IN, rdata.rdtype, covers)
    node.rrsets.append(rrset)
    return rrset


def alias_target(rrset: dns.rdataset.Rdataset) -> dns.name.Name:
    """Where a CNAME leads to."""
    return cast("CNAME", rrset[0]).target


def redirection_target(rrset: dns.rdataset.Rdataset) -> dns.name.Name:
    """Where a DNAME leads to."""
    return cast("DNAME", rrset[0]).target


def ancestors(wire: bytes) -> Iterator[bytes]:
    """The names above a wire name, the nearest first, the root last."""
    at = 0
    while wire[at]:
        at += wire[at] + 1
        yield wire[at:]


def name_of(wire: bytes) -> dns.name.Name:
    """dnspython's form of an uncompressed wire name."""
    return dns.name.from_wire(wire, 0)[0]
