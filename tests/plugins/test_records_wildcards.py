"""Names that stand for others: wildcards, aliases and DNAMEs, and brute force as a second opinion."""

import dns.message
import dns.name
import dns.rdatatype
import pytest
from dnsproxy_records import answers
from hypothesis import given
from hypothesis import strategies as st

from tests.plugins.zones import SOA, ZONE, ask, authority, lines, records

# wildcards (RFC 4592)


@pytest.mark.parametrize(
    ("name", "rcode", "address"),
    [
        ("any.wild", 0, "192.0.2.13"),
        ("several.labels.wild", 0, "192.0.2.13"),
        ("exact.wild", 0, None),
        ("below.exact.wild", 3, None),
        ("under.wild", 0, None),
        ("x.under.wild", 3, None),
        ("wild", 0, None),
        ("x.*.wild", 3, None),
    ],
)
def test_wildcards_stand_for_names_that_do_not_exist(name: str, rcode: int, address: str | None) -> None:
    message = ask(records(), f"{name}.{ZONE}")
    assert message.rcode() == rcode
    assert lines(message) == ([f"{name}.example.org. 300 IN A {address}"] if address else [])
    assert authority(message) == ([] if address else [SOA])


def test_a_wildcard_has_only_its_types() -> None:
    message = ask(records(), "any.wild.example.org.", "TXT")
    assert (message.rcode(), message.answer, authority(message)) == (0, [], [SOA])


def test_names_of_one_length_share_a_wildcards_answer_but_not_its_owner() -> None:
    plugin = records()
    for label in ("aaa", "bbb", "a.b", "cc"):
        assert lines(ask(plugin, f"{label}.wild.{ZONE}", "MX")) == [f"{label}.wild.{ZONE} 300 IN MX 20 mail.{ZONE}"]
        assert authority(ask(plugin, f"{label}.{ZONE}")) == [SOA]


def test_a_shared_answer_never_points_into_the_part_of_the_name_that_differs() -> None:
    plugin = records("*.w CNAME foo.bar.w\n*.v MX 1 foo.bar.v")
    for label in ("x.bar", "x.baz"):
        assert lines(ask(plugin, f"{label}.w.example.org."))[0].endswith(" CNAME foo.bar.w.example.org.")
        assert lines(ask(plugin, f"{label}.v.example.org.", "MX"))[0].endswith(" MX 1 foo.bar.v.example.org.")


# aliases


def test_a_chain_of_aliases_ends_in_the_records() -> None:
    assert lines(ask(records(), "alias2.example.org.", "AAAA")) == [
        "alias2.example.org. 300 IN CNAME alias.example.org.",
        "alias.example.org. 300 IN CNAME www.example.org.",
        "www.example.org. 600 IN AAAA 2001:db8::10",
    ]


def test_a_chain_that_ends_in_nothing_says_so() -> None:
    missing_name, missing_type = ask(records(), "gone.example.org."), ask(records(), "alias.example.org.", "MX")
    assert (missing_name.rcode(), len(missing_name.answer), authority(missing_name)) == (3, 1, [SOA])
    assert (missing_type.rcode(), len(missing_type.answer), authority(missing_type)) == (0, 1, [SOA])


def test_a_chain_that_leaves_the_zones_ends_there() -> None:
    message = ask(records(), "away.example.org.")
    assert lines(message) == ["away.example.org. 300 IN CNAME www.example.net."]
    assert (message.rcode(), message.authority) == (0, [])


def test_loops_end_where_they_began() -> None:
    assert len(ask(records(), "loop1.example.org.").answer) == 2
    assert len(ask(records(), "x.self.example.org.").answer) == 1


def test_long_chains_are_cut() -> None:
    text = "\n".join(f"n{number} CNAME n{number + 1}" for number in range(100))
    assert len(ask(records(text), "n0.example.org.").answer) == answers.CHAIN_MAX


def test_a_wildcard_may_be_an_alias() -> None:
    assert lines(ask(records(), "x.far.example.org.", "AAAA")) == [
        "x.far.example.org. 300 IN CNAME www.example.org.",
        "www.example.org. 600 IN AAAA 2001:db8::10",
    ]


def test_names_below_a_dname_are_redirected() -> None:
    assert lines(ask(records(), "a.tree.example.org.")) == [
        "tree.example.org. 300 IN DNAME other.example.org.",
        "a.tree.example.org. 300 IN CNAME a.other.example.org.",
        "a.other.example.org. 300 IN A 192.0.2.15",
    ]
    assert len(ask(records(), "a.tree.example.org.", "CNAME").answer) == 2
    missing = ask(records(), "b.tree.example.org.")
    assert (missing.rcode(), len(missing.answer), authority(missing)) == (3, 2, [SOA])


def test_a_dname_that_makes_a_name_too_long_is_yxdomain() -> None:
    label = "x" * 60
    plugin = records(f"a DNAME {label}.{label}.{label}")
    message = ask(plugin, f"{label}.a.example.org.")
    assert message.rcode() == 6
    assert [rrset.rdtype.name for rrset in message.answer] == ["DNAME"]


def test_a_dname_into_itself_ends() -> None:
    assert ask(records("a DNAME b.a"), "x.a.example.org.").rcode() in {0, 6}


# against a second opinion
label = st.sampled_from(["a", "b", "c", "*"])

name_in_zone = st.lists(label, max_size=4).map(lambda labels: ".".join([*labels, "example.org."]))


def expected_for(names: dict[str, set[str]], qname: str) -> tuple[int, set[str]]:
    """RFC 4592 by brute force: (rcode, addresses)."""
    exists = {ZONE} | {".".join(name.split(".")[cut:]) for name in names for cut in range(name.count(".") - 1)}
    if qname in exists:
        return 0, names.get(qname, set())
    encloser = qname
    while encloser not in exists:
        encloser = encloser.partition(".")[2]
    source = f"*.{encloser}"
    return (0, names.get(source, set())) if source in exists else (3, set())


@given(st.dictionaries(name_in_zone, st.sets(st.integers(1, 9), min_size=1), max_size=6), st.lists(name_in_zone))
def test_any_zone_answers_as_brute_force_does(zone: dict[str, set[int]], qnames: list[str]) -> None:
    names = {name: {f"192.0.2.{number}" for number in numbers} for name, numbers in zone.items()}
    plugin = records("\n".join(f"{name} A {address}" for name, found in names.items() for address in found))
    for qname in [*names, *qnames]:
        message = ask(plugin, qname)
        found = {rdata.to_text() for rrset in message.answer for rdata in rrset}
        assert (message.rcode(), found) == expected_for(names, qname)
        assert all(rrset.name == dns.name.from_text(qname) for rrset in message.answer)
        assert bool(message.authority) is not bool(found)


@given(st.dictionaries(name_in_zone, name_in_zone, max_size=6), st.lists(name_in_zone, min_size=1))
def test_any_web_of_aliases_gives_a_message_without_repetition(aliases: dict[str, str], qnames: list[str]) -> None:
    plugin = records("\n".join(f"{name} CNAME {target}" for name, target in aliases.items() if name != ZONE))
    for qname in [*aliases, *qnames]:
        message = ask(plugin, qname)
        owners = [rrset.name for rrset in message.answer]
        assert len(set(owners)) == len(owners)
