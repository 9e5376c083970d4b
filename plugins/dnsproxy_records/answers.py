"""Answers in wire format for questions in the zones, made by dnspython once and kept."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype

from dnsproxy import errors, wire
from dnsproxy_records.tree import ROOT, Match, Node, Tree, Zone, alias_target, ancestors, name_of, redirection_target

YXDOMAIN = 6
CHAIN_MAX = 64  # aliases followed in one answer: none of them is a loop, but an answer has to end
REDIRECTIONS_MAX = 8  # DNAMEs: one that leads below itself is a loop, and readers bound how deep compressed names nest
MEMO_OCTETS = 16 * 2**20  # what is remembered before we start afresh
ENTRY_OCTETS = 250  # of an entry beside its records: key, tuple and table slot, measured with tracemalloc
QNAME = struct.pack("!H", 0xC000 | wire.QUESTION_START)  # the owner, as a pointer to the question
FLAGS = (wire.QR | wire.AA) << 8 | wire.RA


class Body(NamedTuple):
    """What all answers to a question share: the header's flags but for RD and CD, the counts, and the records."""

    flags: int
    answers: int
    authorities: int
    records: bytes


class Answers:
    """Bodies by question, for names in the zones of `tree`; all are forgotten when they get too many."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._memo: dict[tuple[bytes, int, int], Body] = {}
        self._octets = 0

    def find(self, folded: bytes, qtype: int) -> Body | None:
        """The body for a lower-cased wire name and type; None when the name is in none of the zones."""
        body = self._memo.get((folded, qtype, 0))
        return self._find_by_match(folded, qtype) if body is None else body

    def _find_by_match(self, folded: bytes, qtype: int) -> Body | None:
        match = self._tree.match(folded)
        if match is None:
            return None
        key = _key(match, folded, qtype)
        body = self._memo.get(key)
        if body is None:
            body = _render(self._tree, match, folded, qtype)
            self._remember(key, body)
        return body

    def _remember(self, key: tuple[bytes, int, int], body: Body) -> None:
        if self._octets > MEMO_OCTETS:
            self._memo.clear()
            self._octets = 0
        self._memo[key] = body
        self._octets += len(body.records) + ENTRY_OCTETS


def _key(match: Match, folded: bytes, qtype: int) -> tuple[bytes, int, int]:
    """One key for all questions with the same body.

    Names that come from one wildcard, or that all do not exist, share a body when they have the same length: their
    owner is a pointer to the question, and other pointers lead to the names above the wildcard.
    """
    if match.node is match.encloser:
        return folded, qtype, 0
    if match.node is not None:
        return match.node.wire, qtype, len(folded)
    return match.encloser.zone.wire, -1, len(folded)


class _Step(NamedTuple):
    """One RRset of an answer section; `owner` None is the name in question."""

    owner: dns.name.Name | None
    rrset: dns.rdataset.Rdataset


class _Chain:
    """The answer section on its way from alias to alias."""

    def __init__(self, tree: Tree, folded: bytes, qtype: int) -> None:
        self.tree = tree
        self.folded = folded
        self.qtype = qtype
        self.rcode = errors.NOERROR
        self.missing_in: Zone | None = None  # whose SOA says that something does not exist
        self.steps: list[_Step] = []
        self._owner: dns.name.Name | None = None
        self._seen: set[Node] = set()

    def follow(self, match: Match | None) -> None:
        """Go on to an answer, or until the chain leaves the zones, comes back to where it was or gets too long."""
        while match is not None and match.node not in self._seen and self._may_go_on():
            target = self._redirect(match.encloser) if match.redirected else self._step(match)
            if target is None:
                return
            self._owner = target
            match = self.tree.match(target.to_digestable())

    def _may_go_on(self) -> bool:
        redirections = sum(step.rrset.rdtype == dns.rdatatype.DNAME for step in self.steps)
        return len(self.steps) < CHAIN_MAX and redirections < REDIRECTIONS_MAX

    def _step(self, match: Match) -> dns.name.Name | None:
        """Take what the node has; the name to go on with if that is an alias."""
        node = match.node
        if node is None:
            self.rcode, self.missing_in = errors.NXDOMAIN, match.encloser.zone
            return None
        rrsets = node.select(self.qtype)
        self.steps += [_Step(self._owner, rrset) for rrset in rrsets]
        alias = node.alias()
        if rrsets or alias is None:
            self.missing_in = None if rrsets else node.zone
            return None
        self._seen.add(node)
        self.steps.append(_Step(self._owner, alias))
        return alias_target(alias)

    def _redirect(self, above: Node) -> dns.name.Name | None:
        """Take the DNAME of a name above and the CNAME that follows from it (RFC 6672 section 3.1)."""
        rrset = above.redirection()
        assert rrset is not None
        self.steps.append(_Step(above.name, rrset))
        owner = self._owner or name_of(self.folded)
        try:
            target = owner.relativize(above.name).concatenate(redirection_target(rrset))
        except dns.name.NameTooLong:
            self.rcode = YXDOMAIN
            return None
        alias = dns.rdataset.from_text(dns.rdataclass.IN, dns.rdatatype.CNAME, rrset.ttl, str(target))
        self.steps.append(_Step(self._owner, alias))
        return None if self.qtype in (dns.rdatatype.CNAME, dns.rdatatype.ANY) else target


def _render(tree: Tree, match: Match, folded: bytes, qtype: int) -> Body:
    chain = _Chain(tree, folded, qtype)
    chain.follow(match)
    known = match.encloser.wire if match.node is not None else match.encloser.zone.wire
    section = _Section(len(folded), known)
    answers = sum([section.write(step.owner, step.rrset) for step in chain.steps])
    zone = chain.missing_in
    authorities = section.write(zone.apex, zone.negative_soa) if zone is not None else 0
    return Body(FLAGS | chain.rcode, answers, authorities, section.records())


class _Section:
    """Records behind a question whose name has `qname_size` octets and ends in the name `known`."""

    def __init__(self, qname_size: int, known: bytes) -> None:
        self._start = wire.QUESTION_START + qname_size + 4
        self._file = io.BytesIO(bytes(self._start))
        self._file.seek(self._start)
        first = wire.QUESTION_START + qname_size - len(known)
        suffixes = [suffix for suffix in (known, *ancestors(known)) if suffix != ROOT]
        self._compress = {name_of(suffix): first + len(known) - len(suffix) for suffix in suffixes}

    def write(self, owner: dns.name.Name | None, rrset: dns.rdataset.Rdataset) -> int:
        """Append an RRset; the number of its records."""
        for rdata in rrset:
            if owner is None:
                self._file.write(QNAME)
            else:
                owner.to_wire(self._file, self._compress)
            self._write_rdata(rdata, rrset.ttl)
        return len(rrset)

    def _write_rdata(self, rdata: dns.rdata.Rdata, ttl: int) -> None:
        fixed = self._file.tell()
        self._file.write(wire.RECORD.pack(rdata.rdtype, rdata.rdclass, ttl, 0))
        rdata.to_wire(self._file, self._compress)
        end = self._file.tell()
        self._file.seek(fixed + wire.RECORD.size - 2)
        self._file.write((end - fixed - wire.RECORD.size).to_bytes(2, "big"))
        self._file.seek(end)

    def records(self) -> bytes:
        """The octets of all records written."""
        return self._file.getvalue()[self._start :]
