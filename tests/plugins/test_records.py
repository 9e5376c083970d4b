"""The records plugin: zone data in, answers in wire format out."""

import re
import struct
import textwrap
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
import pytest
import tomli
from dnsproxy_records import Records, RecordsConfig, answers
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.config import OptionError, OptionErrors
from dnsproxy.convert import read_table
from dnsproxy.message import Endpoint, Query, Response
from dnsproxy.shape import shape_of
from dnsproxy.wire import name_from_text, name_to_text

ZONE = "example.org."
ENDPOINT = Endpoint("UDP", Address.of("192.0.2.53", 53))
PASSED_ON = Response(b"passed on")
SOA = "example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 60"
TEXT = """
$TTL 300
@           SOA   ns hostmaster 1 2 3 4 60
            NS    ns
            MX    10 mail
ns          A     192.0.2.1
www         A     192.0.2.10
            A     192.0.2.11
            TXT   "hello" "world"
www    600  AAAA  2001:db8::10
alias       CNAME www
alias2      CNAME alias
gone        CNAME no-such
away        CNAME www.example.net.
loop1       CNAME loop2
loop2       CNAME loop1
only.below.here  A  192.0.2.12
*.wild      A     192.0.2.13
            MX    20 mail
exact.wild  TXT   "no A"
deep.under.wild  A 192.0.2.14
*.far       CNAME www
*.self      CNAME a.b.self
tree        DNAME other
a.other     A     192.0.2.15
odd         TYPE65280 \\# 3 abcdef
svc         HTTPS 1 . alpn=h2 ipv4hint=192.0.2.16
"""


def records(text: str = TEXT, *zones: str) -> Records:
    plugin = Records([RecordsConfig(zones=tuple(map(name_from_text, zones or (ZONE,))), data=textwrap.dedent(text))])
    plugin.next = pass_on
    return plugin


def pass_on(_query: Query) -> Awaitable[Response]:
    return PASSED_ON


def make_query(name: str, qtype: str = "A", *, flags: int = 0x0100, opt: bytes = b"", qclass: int = 1) -> Query:
    qname = name_from_text(name)
    header = struct.pack("!HHHHHH", 4711, flags, 1, 0, 0, 1 if opt else 0)
    octets = header + qname + struct.pack("!HH", dns.rdatatype.from_text(qtype), qclass) + opt
    return Query(octets, shape_of(octets), Address.of("192.0.2.7", 40212).sockaddr, ENDPOINT, 0)


def answer(plugin: Records, query: Query) -> Response:
    response = plugin.handle(query)
    assert isinstance(response, Response)
    return response


def ask(plugin: Records, name: str, qtype: str = "A", **more: Any) -> dns.message.Message:
    response = answer(plugin, make_query(name, qtype, **more))
    assert response is not PASSED_ON
    return dns.message.from_wire(response.wire)  # strict: refuses anything left over


def lines(message: dns.message.Message) -> list[str]:
    return [line for rrset in message.answer for line in rrset.to_text().splitlines()]


def authority(message: dns.message.Message) -> list[str]:
    return [rrset.to_text() for rrset in message.authority]


# what is in the zone


def test_every_record_of_the_type_is_in_the_answer() -> None:
    message = ask(records(), "www.example.org.")
    assert lines(message) == ["www.example.org. 300 IN A 192.0.2.10", "www.example.org. 300 IN A 192.0.2.11"]
    assert message.rcode() == 0
    assert message.authority == []


@pytest.mark.parametrize(
    ("name", "qtype", "expected"),
    [
        ("www", "AAAA", "www.example.org. 600 IN AAAA 2001:db8::10"),
        ("www", "TXT", 'www.example.org. 300 IN TXT "hello" "world"'),
        ("odd", "TYPE65280", "odd.example.org. 300 IN TYPE65280 \\# 3 abcdef"),
        ("svc", "HTTPS", 'svc.example.org. 300 IN HTTPS 1 . alpn="h2" ipv4hint="192.0.2.16"'),
        ("tree", "DNAME", "tree.example.org. 300 IN DNAME other.example.org."),
        ("alias", "CNAME", "alias.example.org. 300 IN CNAME www.example.org."),
        ("*.wild", "A", "*.wild.example.org. 300 IN A 192.0.2.13"),
    ],
)
def test_types_of_all_kinds_are_answered(name: str, qtype: str, expected: str) -> None:
    assert lines(ask(records(), f"{name}.{ZONE}", qtype)) == [expected]


def test_any_gets_everything_the_name_has() -> None:
    assert {rrset.rdtype.name for rrset in ask(records(), "www.example.org.", "ANY").answer} == {"A", "AAAA", "TXT"}


def test_owners_equal_to_the_question_are_pointers_to_it() -> None:
    query = make_query("www.example.org.")
    wire = answer(records(), query).wire
    assert wire[query.shape.question_end :].startswith(b"\xc0\x0c\0\1\0\1")
    assert len(wire) == query.shape.question_end + 2 * 16


def test_a_record_before_any_ttl_has_an_hour() -> None:
    assert lines(ask(records("www A 192.0.2.1"), "www.example.org.")) == ["www.example.org. 3600 IN A 192.0.2.1"]


def test_records_of_one_set_share_the_least_ttl() -> None:
    plugin = records("www 300 A 192.0.2.1\nwww 60 A 192.0.2.2")
    assert [rrset.ttl for rrset in ask(plugin, "www.example.org.").answer] == [60]


# what is not


@pytest.mark.parametrize(("name", "rcode"), [("no-such", 3), ("a.www", 3), ("www", 0), ("here", 0), ("below.here", 0)])
def test_what_is_missing_comes_with_the_soa(name: str, rcode: int) -> None:
    message = ask(records(), f"{name}.{ZONE}", "SRV")
    assert message.rcode() == rcode
    assert message.answer == []
    assert authority(message) == [SOA]


def test_a_soa_that_is_asked_for_keeps_its_ttl() -> None:
    assert lines(ask(records(), ZONE, "SOA")) == [SOA.replace(" 60 IN", " 300 IN")]


def test_a_zone_without_soa_gets_one() -> None:
    plugin = records("www A 192.0.2.1")
    expected = "example.org. 60 IN SOA example.org. nobody.invalid. 1 3600 1200 604800 60"
    assert authority(ask(plugin, "no-such.example.org.")) == [expected]
    assert lines(ask(plugin, ZONE, "SOA")) == [expected]


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


# zones


def test_names_outside_the_zones_are_passed_on() -> None:
    for name in ("www.example.net.", "org.", ".", "notexample.org.", "xexample.org."):
        assert answer(records(), make_query(name)) is PASSED_ON


def test_classes_other_than_in_are_passed_on() -> None:
    assert answer(records(), make_query("www.example.org.", qclass=3)) is PASSED_ON


def test_several_zones_share_one_text() -> None:
    plugin = records("www A 192.0.2.1\n1.2.0.192.in-addr.arpa. PTR www", ZONE, "2.0.192.in-addr.arpa.")
    expected = "1.2.0.192.in-addr.arpa. 3600 IN PTR www.example.org."
    assert lines(ask(plugin, "1.2.0.192.in-addr.arpa.", "PTR")) == [expected]
    assert authority(ask(plugin, "2.2.0.192.in-addr.arpa.", "PTR"))[0].startswith("2.0.192.in-addr.arpa. 60 IN SOA")


def test_the_inner_zone_of_two_answers() -> None:
    plugin = records("*.example.org. A 192.0.2.1\nwww.a.b A 192.0.2.2", ZONE, "a.b.example.org.")
    assert authority(ask(plugin, "x.a.b.example.org."))[0].startswith("a.b.example.org. ")
    assert ask(plugin, "b.example.org.").rcode() == 0
    assert lines(ask(plugin, "c.example.org.")) == ["c.example.org. 3600 IN A 192.0.2.1"]


def test_the_root_can_be_a_zone() -> None:
    plugin = records("www.example.org. A 192.0.2.1", ".")
    assert len(ask(plugin, "www.example.org.").answer) == 1
    assert ask(plugin, "no-such.").rcode() == 3
    assert ask(plugin, ".", "NS").rcode() == 0


# the message around it


def test_the_answer_is_authoritative_and_keeps_the_clients_id_and_flags() -> None:
    plain = answer(records(), make_query("www.example.org.", flags=0)).wire
    asked = answer(records(), make_query("www.example.org.", flags=0x0130)).wire
    assert plain[:4] == struct.pack("!HH", 4711, 0x8480)
    assert asked[:4] == struct.pack("!HH", 4711, 0x8590)


def test_the_question_comes_back_octet_by_octet() -> None:
    query = make_query("wWw.eXample.ORG.")
    wire = answer(records(), query).wire
    assert wire[12 : query.shape.question_end] == query.shape.question
    assert dns.message.from_wire(wire).answer[0].name.to_text() == "wWw.eXample.ORG."


@pytest.mark.parametrize("name", ["www", "no-such"])
@pytest.mark.parametrize("dnssec_ok", [False, True])
def test_an_opt_comes_exactly_if_the_client_sent_one(name: str, dnssec_ok: bool) -> None:
    plugin = records()
    cookie = b"\0\x0a\0\x08abcdefgh"
    opt = struct.pack("!BHHIH", 0, 41, 4096, 0x8000 if dnssec_ok else 0, len(cookie)) + cookie
    with_opt = ask(plugin, f"{name}.{ZONE}", opt=opt)
    assert (with_opt.edns, with_opt.payload, with_opt.ednsflags, with_opt.options) == (
        0,
        1232,
        0x8000 if dnssec_ok else 0,
        (),
    )
    assert ask(plugin, f"{name}.{ZONE}").edns == -1


def test_the_memory_for_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MEMO_OCTETS", 10 * answers.ENTRY_OCTETS)
    plugin = records()
    for qtype in range(1000, 1100):
        ask(plugin, "alias.example.org.", f"TYPE{qtype}")
    assert len(plugin._answers._memo) <= 11


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


# configuration


def problems(text: str, *zones: str) -> list[tuple[int | None, str]]:
    with pytest.raises(OptionErrors) as caught:
        records(text, *zones)
    assert {error.path for error in caught.value.errors} == {("data",)}
    return [(error.line, error.message) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("www AX 192.0.2.1", "unknown rdatatype 'AX'"),
        ("www A 192.0.2.256", "malformed"),
        ("www MX mail", "expecting an integer"),
        ("www CH A 192.0.2.1", "class"),
        ("a..b A 192.0.2.1", "label is empty"),
        ("x" * 64 + " A 192.0.2.1", "63 octets"),
        ('www TXT "unfinished', "ended unexpectedly"),
        ("www A 192.0.2.1 192.0.2.2", "expected EOL"),
        ("www A ( 192.0.2.1", "parentheses"),
        ("www OPT 1", "no such record"),
        ("www TYPE255 \\# 0", "holds data"),
        ("$TTL soon", "TTL"),
        ("$INCLUDE other.zone", "not allowed"),
        ("www.example.net. A 192.0.2.1", "outside"),
        ("www SOA . . 1 2 3 4 5", "SOA"),
        ("@ SOA . . 1 2 3 4 5\n@ SOA . . 6 7 8 9 0", "second SOA"),
        ("www CNAME a\nwww A 192.0.2.1", "CNAME and other data"),
        ("www CNAME a\nwww CNAME b", "second CNAME"),
        ("a DNAME b\nx.a A 192.0.2.1", "below a DNAME"),
        ("é\udcff A 192.0.2.1", "IDNA"),
    ],
)
def test_bad_text_is_an_error_with_its_line(entry: str, complaint: str) -> None:
    ((line, message),) = problems(f"\n; a comment (\nok A 192.0.2.1\n{entry}\n")
    assert complaint in message
    assert "; expected" in message
    assert line == 3 + entry.count("\n")


def test_every_bad_record_is_reported_with_the_line_on_which_it_starts() -> None:
    text = """\
        www A 1
        ok TXT ( "a (" ; )
           b )
        mail MX (
           10 )
        away.example.net. A 192.0.2.1
        www A 2
    """
    assert [line for line, _ in problems(text)] == [0, 3, 5, 6]


def test_carriage_returns_do_not_move_lines() -> None:
    assert [line for line, _ in problems("ok A 192.0.2.1\r\nwww A 1\r\n")] == [1]


@given(st.text(alphabet='aA1.*@$()";\\ \n\t-#', max_size=60))
def test_any_text_is_a_zone_or_the_documented_error(text: str) -> None:
    last_line = text.count("\n")
    try:
        plugin = records(text)
    except OptionErrors as exc:
        lines_with_errors = [error.line or 0 for error in exc.errors]
    else:
        lines_with_errors = []
        ask(plugin, "a.example.org.", "ANY")
    assert all(0 <= line <= last_line for line in lines_with_errors)


def read(table: dict[str, Any], folder: Path) -> tuple[RecordsConfig | None, list[OptionError]]:
    outcome = read_table(RecordsConfig, table, folder)
    return outcome.value, outcome.errors


def test_the_text_may_be_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "example.zone").write_bytes(b"\xef\xbb\xbf; latin-1 \xe9\r\nwww A 192.0.2.1\r\n")
    config, errors = read({"zones": [ZONE], "file": "example.zone"}, tmp_path)
    assert errors == []
    assert config is not None
    assert len(ask(Records([config]), "www.example.org.").answer) == 1


def test_errors_in_a_file_name_it_and_its_line(tmp_path: Path) -> None:
    path = tmp_path / "example.zone"
    path.write_bytes(b"ok A 192.0.2.1\nbad A 1\n\xe9 A 192.0.2.1\n")
    _, errors = read({"zones": [ZONE], "file": "example.zone"}, tmp_path)
    assert [error.path for error in errors] == [("file",), ("file",)]
    assert errors[0].message.startswith(f"{path}:2: ")
    assert errors[1].message.startswith(f"{path}:3: ")


def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    _, errors = read({"zones": [ZONE], "file": "missing.zone"}, tmp_path)
    assert [error.path for error in errors] == [("file",)]


@pytest.mark.parametrize(("keys", "path"), [({}, ("data",)), ({"data": "", "file": "empty.zone"}, ("file",))])
def test_the_text_comes_from_exactly_one_place(keys: dict[str, str], path: tuple[str], tmp_path: Path) -> None:
    (tmp_path / "empty.zone").touch()
    _, errors = read({"zones": [ZONE], **keys}, tmp_path)
    assert [error.path for error in errors] == [path]


def test_a_bad_zone_name_does_not_make_its_records_wrong_too(tmp_path: Path) -> None:
    _, errors = read({"zones": [ZONE, "a..b."], "data": "www.a.b. A 192.0.2.1"}, tmp_path)
    assert [error.path[0] for error in errors] == ["zones"]


def test_the_configuration_in_the_readme_works(tmp_path: Path) -> None:
    readme = Path(__file__).parents[2] / "plugins" / "dnsproxy_records" / "README.md"
    (block,) = re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)
    config, errors = read(tomli.loads(block)["records"], tmp_path)
    assert errors == []
    assert config is not None
    plugin = Records([config])
    assert lines(ask(plugin, "x.apps.example.test."))[1] == "www.example.test. 300 IN A 192.0.2.10"
    assert plugin.describe() == ["answers for example.test., 2.0.192.in-addr.arpa. (8 names)"]
    assert [name_to_text(zone) for zone in config.zones] == ["example.test.", "2.0.192.in-addr.arpa."]
