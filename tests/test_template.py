"""Templates: CoreDNS's syntax and labels, metadata, and the JSON form."""

import json
import struct
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.address import Address
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import shape_of
from dnsproxy.template import LABELS, VALUE_MAX, Template, compile_json, compile_template

COREDNS_COMMON_LOG = '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
COREDNS_COMMON_LOG += "{rcode} {>rflags} {rsize} {duration}"
ARRIVED_NS = 1_700_000_000_000_000_000
EDNS_4096_DO = b"\0\0\x29\x10\0\0\0\x80\0\0\0"


@dataclass
class Event:
    query: Query | None
    query_ns: int = ARRIVED_NS
    response_ns: int = 0
    response_wire: bytes | None = None


def make_query(
    qname: bytes = b"\3WWW\7example\3org\0",
    qtype: int = 1,
    qclass: int = 1,
    *,
    opt: bytes = b"",
    client: str = "192.0.2.7",
    protocol: str = "UDP",
    local: str = "192.0.2.53",
    opcode: int = 0,
) -> Query:
    header = struct.pack("!HHHHHH", 4711, 0x0100 | opcode << 11, 1, 0, 0, 1 if opt else 0)
    octets = header + qname + struct.pack("!HH", qtype, qclass) + opt
    endpoint = Endpoint(protocol, Address.of(local, 53))
    return Query(octets, shape_of(octets), Address.of(client, 40212).sockaddr, endpoint, ARRIVED_NS)


def answered(query: Query, flags: int = 0x8180, opt: bytes = b"") -> Event:
    header = query.wire[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 1 if opt else 0)
    response = header + query.shape.question + opt
    return Event(query, ARRIVED_NS, ARRIVED_NS + 37_990_251, response)


def render(text: str, event: Event) -> str:
    return compile_template(text).render(event)


def with_metadata(**metadata: object) -> Event:
    event = Event(make_query())
    assert event.query is not None
    event.query.metadata.update({f"plugin/{key}": value for key, value in metadata.items()})
    return event


# syntax


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("", ""),
        ("A", "A"),
        ("A {A}", "A {A}"),
        ("{{remote}}", "{192.0.2.7}"),
        ("{ A {remote} A }", "{ A 192.0.2.7 A }"),
        ("{remote}}", "192.0.2.7}"),
        ("{{remote}", "{192.0.2.7"),
        ("Foo } {remote}", "Foo } 192.0.2.7"),
        ("{ Foo", "{ Foo"),
        ("} Foo", "} Foo"),
        ("A { {remote} {type} {/plugin/none} } B", "A { 192.0.2.7 A - } B"),
        ("{/plugin/none", "{/plugin/none"),
        ("{plugin/none} {/plugin/none}", "{plugin/none} -"),
        ("{/}", "-"),
        ("{}", "{}"),
        ("{/a {/plugin/none}", "{/a -"),
        ("100% {type} %s %(a)s", "100% A %s %(a)s"),
        ("{ name }", "{ name }"),
        ("{NAME}", "{NAME}"),
        (r"\{name\}", r"\{name\}"),
    ],
)
def test_the_first_closing_brace_ends_the_nearest_label_before_it(text: str, rendered: str) -> None:
    assert render(text, Event(make_query())) == rendered


def test_labels_that_mean_nothing_stay_literal_and_are_named_once_each() -> None:
    template = compile_template("{nope} {name} {nope} {} {/plugin/any}")
    assert template.unknown == ("{nope}", "{}")
    assert template.render(Event(make_query())) == "{nope} www.example.org. {nope} {} -"


def test_text_without_labels_is_constant() -> None:
    assert compile_template("edge {1} 100%").constant == "edge {1} 100%"
    assert compile_template("edge {1} 100%").render(Event(None)) == "edge {1} 100%"
    assert compile_template("{name}").constant is None
    assert compile_template("{/a}").constant is None


@given(st.text(alphabet="{}/>%\\ namertyp\n", max_size=40))
def test_any_text_compiles_and_its_literals_survive(text: str) -> None:
    event = Event(make_query())
    rendered = render(text, event)
    if compile_template(text).constant is not None:
        assert rendered == text
    outside = text[text.rfind("}") + 1 :]
    assert rendered.endswith(outside)


@given(st.text(), st.text().filter(lambda text: "}" not in text and "{" not in text), st.text())
def test_what_stands_round_a_label_is_left_alone(before: str, key: str, after: str) -> None:
    before, after = before.replace("{", "").replace("}", ""), after.replace("{", "").replace("}", "")
    assert render(before + "{/" + key + "}" + after, Event(make_query())) == f"{before}-{after}"


# labels


def test_coredns_common_log_format_reads_as_in_coredns() -> None:
    query = make_query(opt=EDNS_4096_DO, client="::1")
    assert render(COREDNS_COMMON_LOG, answered(query)) == (
        '[::1]:40212 - 4711 "A IN www.example.org. udp 44 true 4096" NOERROR qr,rd,ra 33 0.037990251s'
    )


def test_labels_of_the_answer_are_missing_in_queries() -> None:
    assert render("{rcode} {rsize} {duration} {>rflags}", Event(make_query())) == "- - - -"


@pytest.mark.parametrize(
    ("protocol", "proto", "bufsize"),
    [("UDP", "udp", "512"), ("TCP", "tcp", "65535"), ("DOT", "tcp", "65535"), ("DOQ", "udp", "65535")],
)
def test_the_protocol_is_what_carries_the_query(protocol: str, proto: str, bufsize: str) -> None:
    event = Event(make_query(protocol=protocol))
    assert render("{proto} {>bufsize} {/query/protocol}", event) == f"{proto} {bufsize} {protocol}"


def test_a_bufsize_below_512_counts_as_512() -> None:
    small = b"\0\0\x29\0\x10\0\0\0\0\0\0"
    assert render("{>bufsize} {>do}", Event(make_query(opt=small))) == "512 false"


def test_ipv6_addresses_are_bracketed_and_mapped_ones_are_ipv4() -> None:
    assert render("{remote} {local}", Event(make_query(client="2001:db8::1", local="::1"))) == "[2001:db8::1] [::1]"
    assert render("{remote}", Event(make_query(client="::ffff:192.0.2.9"))) == "192.0.2.9"


def test_the_name_is_lower_case_presentation_form() -> None:
    assert render("{name}", Event(make_query(qname=b"\4A.\0\x1b\0"))) == "a\\.\\000\\027."
    assert render("{name}", Event(make_query(qname=b"\0"))) == "."


def test_the_longest_name_is_not_cut() -> None:
    qname = b"".join(bytes((size,)) + b"\xff" * size for size in (63, 63, 63, 61)) + b"\0"
    assert len(render("{name}", Event(make_query(qname=qname)))) == 250 * 4 + 4


def test_types_and_classes_without_a_name_are_numbers() -> None:
    assert render("{type} {class}", Event(make_query(qtype=65280, qclass=4711))) == "TYPE65280 CLASS4711"
    assert render("{type} {class}", Event(make_query(qtype=65, qclass=3))) == "HTTPS CH"


def test_opcodes_are_numbers() -> None:
    assert render("{>opcode}", Event(make_query(opcode=4))) == "4"


def test_labels_of_a_question_that_cannot_be_read_are_missing() -> None:
    octets = struct.pack("!HHHHHH", 1, 0x0100, 2, 0, 0, 0)
    query = Query(octets, shape_of(octets), Address.of("192.0.2.7", 1).sockaddr, make_query().endpoint, 0)
    assert render("{name} {type} {class} {size} {>id}", Event(query)) == "- - - 12 1"


@pytest.mark.parametrize(
    ("high", "low", "text"), [(0, 3, "NXDOMAIN"), (1, 0, "BADVERS"), (255, 15, "4095"), (0, 12, "12")]
)
def test_the_rcode_has_the_extended_bits(high: int, low: int, text: str) -> None:
    event = answered(make_query(), 0x8180 | low, wire.make_opt(high))
    assert render("{rcode}", event) == text


def test_every_flag_of_the_answer_has_its_name() -> None:
    assert render("{>rflags}", answered(make_query(), 0x87F0)) == "qr,aa,tc,rd,ra,z,ad,cd"


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    event = answered(make_query())
    event.response_ns = event.query_ns - 5
    assert render("{duration}", event) == "0.000000000s"


def test_an_answer_too_short_to_be_one_has_no_rcode() -> None:
    assert render("{rcode} {>rflags} {rsize}", Event(make_query(), response_wire=b"\0\1\x81\x80")) == "- - -"


@pytest.mark.parametrize("label", [*LABELS, "/query/id"])
def test_every_label_is_missing_without_query_and_response(label: str) -> None:
    assert render("<{" + label + "}>", Event(None)) == "<->"
    assert render("{" + label + "} {/a}", Event(None)) == "- -"


# metadata


def test_metadata_become_text_when_rendered() -> None:
    event = with_metadata(text="two", number=2, rtt=0.25, yes=True, empty="", none=None)
    text = "{/plugin/text} {/plugin/number} {/plugin/rtt} {/plugin/yes} [{/plugin/empty}] {/plugin/none} {/plugin/no}"
    assert render(text, event) == "two 2 0.25 true [] - -"


def test_metadata_are_never_parsed_again() -> None:
    event = with_metadata(evil="{name} %s {/query/id} {0}")
    assert render("{/plugin/evil}", event) == "{name} %s {/query/id} {0}"
    assert render("{/plugin/evil} {type}", event) == "{name} %s {/query/id} {0} A"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    event = with_metadata(evil="a\x1b[2J\n\x7f\x9bé\u202e\udc80")
    assert render("{/plugin/evil}", event) == "a\\027[2J\\010\\127\\194\\155é\\226\\128\\174\\237\\178\\128"


@given(st.one_of(st.text(), st.text(max_size=3).map(lambda text: text * 2000), st.floats(), st.integers(), st.binary()))
def test_any_value_renders_bounded_printable_and_encodable(value: object) -> None:
    for text in ("{/plugin/any}", "{/plugin/any}{/query/protocol}"):
        rendered = render(text, with_metadata(any=value))
        assert len(rendered) <= VALUE_MAX + len("UDP")
        assert rendered.isprintable()
        rendered.encode()


# JSON


def test_json_keys_are_the_labels_as_written_and_missing_is_null() -> None:
    event = answered(make_query())
    assert event.query is not None
    event.query.metadata |= {"query/id": "00c0ffee00c0ffee", "forward/upstream": "192.0.2.1:53", "forward/attempt": 2}
    labels = ["query/id", "forward/upstream", "forward/attempt", "/query/id", "forward/rtt", "name", ">id", ">do"]
    assert json.loads(compile_json(labels).render(event)) == {
        "query/id": "00c0ffee00c0ffee",
        "forward/upstream": "192.0.2.1:53",
        "forward/attempt": 2,
        "/query/id": "00c0ffee00c0ffee",
        "forward/rtt": None,
        "name": "www.example.org.",
        ">id": 4711,
        ">do": False,
    }


def test_json_names_unknown_labels_and_gives_null_for_them() -> None:
    template = compile_json(["nope", "name", "{name}"])
    assert template.unknown == ("nope", "{name}")
    assert json.loads(template.render(Event(make_query()))) == {
        "nope": None,
        "name": "www.example.org.",
        "{name}": None,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_word_for_some_numbers(value: float) -> None:
    assert json.loads(compile_json(["plugin/any"]).render(with_metadata(any=value))) == {"plugin/any": str(value)}


@given(st.text(max_size=VALUE_MAX), st.text())
def test_json_gives_back_any_text_in_printable_ascii(value: str, key: str) -> None:
    rendered = compile_json([f"plugin/any{key}"]).render(with_metadata(**{f"any{key}": value}))
    assert json.loads(rendered) == {f"plugin/any{key}": value}
    assert rendered.isascii()
    assert rendered.isprintable()


# configuration


def test_a_template_comes_from_text_or_from_a_table_with_json() -> None:
    assert Template.from_toml("{name}") == compile_template("{name}")
    assert Template.from_toml({"json": ["name"]}) == compile_json(["name"])
    assert hash(Template.from_toml("{name}")) == hash(compile_template("{name}"))
    assert Template.from_toml("name") != Template.from_toml({"json": ["name"]})
    assert str(Template.from_toml({"json": ["name", ">id"]})) == '{json = ["name", ">id"]}'


@pytest.mark.parametrize("value", [{}, {"json": []}, {"json": "name"}, {"json": [1]}, {"json": ["name"], "x": 1}])
def test_other_tables_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Template.from_toml(value)


def test_a_key_of_a_json_object_comes_once() -> None:
    with pytest.raises(ValueError, match="same label twice"):
        Template.from_toml({"json": ["name", "name"]})


def test_a_label_whose_value_is_known_for_good_is_part_of_the_text() -> None:
    template = compile_template("{/dnstap/sample} of {/plugin/x}").knowing({"dnstap/sample": 0.01})
    assert template.render(with_metadata(x="00ff")) == "0.01 of 00ff"
    assert template.key == "plugin/x"
    assert compile_template("{/dnstap/sample}").knowing({"dnstap/sample": "0.010"}).constant == "0.010"
    assert template != compile_template("{/dnstap/sample} of {/plugin/x}")
    assert (
        compile_json(["dnstap/sample"]).knowing({"dnstap/sample": 0.01}).render(with_metadata())
        == '{"dnstap/sample":0.01}'
    )
