"""Names taken out of messages; what is left can be parsed."""

import io

import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.dnstap.redact import walk
from dnsproxy.dnstap.rename import NAMES_KEPT, Renamer, process_key, read_name, use_process_key
from tests.dnstap.hiding import QNAME, QUESTION, TO_QNAME, message, opt, option, packed, record
from tests.test_wire import NAMES

DROP = Renamer(None)
HASH = Renamer(b"some 16-byte key")
ZONE = "secret.example.org."
NAME = f"WWW.{ZONE}"
RECORDS = [
    (NAME, "CNAME", f"web.{ZONE}"),
    (f"web.{ZONE}", "A", "192.0.2.1"),
    (f"web.{ZONE}", "AAAA", "2001:db8::1"),
    (f"web.{ZONE}", "MX", f"10 mail.{ZONE}"),
    (f"web.{ZONE}", "SRV", f"1 2 53 srv.{ZONE}"),
    (ZONE, "SOA", f"ns.{ZONE} hostmaster.{ZONE} 1 2 3 4 5"),
    (ZONE, "NS", f"ns.{ZONE}"),
    (ZONE, "RP", f"who.{ZONE} text.{ZONE}"),
]
TELLING = [
    (ZONE, "TXT", '"secret stuff"'),
    (ZONE, "HTTPS", f"1 alt.{ZONE} alpn=h2"),
    (ZONE, "NSEC", f"next.{ZONE} A NS"),
    (ZONE, "RRSIG", f"A 8 3 300 20300101000000 20200101000000 12345 {ZONE} AAAA"),
    (ZONE, "CAA", '0 issue "ca.secret.example"'),
]


def response(*records: tuple[str, str, str]) -> bytes:
    """An answer with these records, an OPT, and its names compressed."""
    answer = dns.message.make_response(dns.message.make_query(NAME, "A", use_edns=True))
    for owner, rtype, data in records:
        answer.answer.append(dns.rrset.from_text(owner, 300, "IN", rtype, data))
    return answer.to_wire()


def test_dropping_names_makes_every_name_the_root() -> None:
    seen = DROP.message(response(*RECORDS))
    parsed = dns.message.from_wire(seen)
    assert parsed.question[0].name == dns.name.root
    assert {rrset.name for rrset in parsed.answer} == {dns.name.root}
    assert [each[0] for each in walk(seen)[1]] == [5, 1, 28, 15, 33, 6, 2, 17, 41]
    assert walk(seen)[2] == len(seen)


def test_a_digest_stands_for_a_name_wherever_it_stands_in_any_case() -> None:
    parsed = dns.message.from_wire(HASH.message(response(*RECORDS)))
    digest = dns.name.from_wire(HASH.name(wire.name_from_text(NAME.lower())), 0)[0]
    alias, address = parsed.answer[0], parsed.answer[1]
    assert (parsed.question[0].name, alias.name) == (digest, digest)
    assert alias[0].target == address.name != digest
    assert address[0].address == "192.0.2.1"


@pytest.mark.parametrize("renamer", [DROP, HASH])
def test_nothing_is_left_of_the_names(renamer: Renamer) -> None:
    seen = renamer.message(response(*RECORDS, *TELLING)).lower()
    for word in (b"www", b"secret", b"example", b"org", b"web", b"mail", b"srv", b"hostmaster", b"who", b"next"):
        assert word not in seen


@pytest.mark.parametrize("renamer", [DROP, HASH])
def test_records_that_may_tell_a_name_go_and_the_counts_are_right(renamer: Renamer) -> None:
    seen = renamer.message(response(TELLING[0], RECORDS[1], *TELLING[1:]))
    assert [each[0] for each in walk(seen)[1]] == [1, 41]
    assert walk(seen)[2] == len(seen)
    assert len(dns.message.from_wire(seen).answer) == 1


def test_each_section_has_its_own_count() -> None:
    text, address = record(16, b"\1x"), record(1, packed("192.0.2.1"))
    octets = message(text + address + address + text + address + opt(), (2, 2, 2), response=True)
    assert DROP.message(octets)[6:12] == b"\0\1\0\1\0\2"


def test_a_digest_depends_on_the_key_and_is_one_label_of_hex() -> None:
    digest = HASH.name(QNAME)
    assert (digest[0], digest[-1], len(digest)) == (32, 0, 34)
    assert int(digest[1:-1], 16) > 0
    assert Renamer(b"some 16-byte key").name(QNAME) == digest
    assert Renamer(b"another key").name(QNAME) != digest
    assert HASH.name(b"\7example\3org\0") != digest


def test_the_key_of_a_process_is_random_until_it_is_given_anothers() -> None:
    own = process_key()
    assert len(own) == 32
    try:
        use_process_key(b"the supervisor's")
        assert process_key() == b"the supervisor's"
    finally:
        use_process_key(own)


def test_the_root_stays_the_root() -> None:
    assert (HASH.name(b"\0"), DROP.name(b"\0")) == (b"\0", b"\0")
    null_mx = message(record(15, b"\0\0\0"), (1, 0, 0), response=True)
    assert HASH.message(null_mx).endswith(b"\0\3\0\0\0")


def test_options_stay_for_others_to_judge() -> None:
    octets = message(opt(option(3, b"x")), (0, 0, 1))
    assert DROP.message(octets) == message(opt(option(3, b"x")), (0, 0, 1), question=b"\0\0\1\0\1")


def test_a_signature_of_the_message_goes() -> None:
    tsig = record(250, b"whatever", b"\3key\0")
    assert DROP.message(message(tsig, (0, 0, 1))) == message(question=b"\0\0\1\0\1")


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0\0\0", b"\3ww", b"\xc0\x0c\0", b"\xff\xff", b"\xc0", b"\x40" + b"x" * 64 + b"\0", b""]
)
def test_a_message_with_an_alias_that_is_none_loses_it_or_is_refused(data: bytes) -> None:
    octets = message(record(5, data), (1, 0, 0), response=True)
    try:
        seen = DROP.message(octets)
    except wire.WireError:
        return
    assert seen == message(question=b"\0\0\1\0\1", response=True)


def test_of_a_message_that_cannot_be_read_the_question_is_renamed_if_it_can_be() -> None:
    assert DROP.question(message(b"\x80", (1, 1, 1))) == message(question=b"\0\0\1\0\1")
    assert DROP.question(message(question=QNAME)) == message(question=b"")
    assert DROP.question(message(question=QUESTION)[:4] + b"\0\2" + QUESTION * 2) == message(question=b"")


@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda tail: message(tail, (1, 1, 1)))))
def test_any_octets_give_a_message_that_can_be_walked_or_the_documented_error(octets: bytes) -> None:
    for renamer in (DROP, HASH):
        try:
            seen = renamer.message(octets)
        except wire.WireError:
            seen = renamer.question(octets) if len(octets) >= 12 else bytes(12)
        assert walk(seen)[2] == len(seen)


@given(st.lists(NAMES, max_size=5), st.booleans())
def test_names_are_read_as_dnspython_reads_them(names: list[bytes], is_compressed: bool) -> None:
    file = io.BytesIO(bytes(12))
    file.seek(0, io.SEEK_END)
    compress: dict[dns.name.Name, int] | None = {} if is_compressed else None
    places = []
    for name in names:
        places.append((file.tell(), name))
        dns.name.from_wire(name, 0)[0].to_wire(file, compress)
    octets = file.getvalue()
    for place, name in places:
        assert read_name(octets, place) == (name.lower(), place + dns.name.from_wire(octets, place)[1])


@pytest.mark.parametrize(
    "octets",
    [
        bytes(12),
        bytes(12) + b"\3ww",
        bytes(12) + b"\xc0",
        bytes(12) + b"\xc0\x0c",  # itself
        bytes(12) + b"\xc0\x0e\0",  # forwards
        bytes(12) + b"\xc0\x04",  # into the header
        bytes(12) + b"\x80\0",
        bytes(12) + (b"\x3f" + b"x" * 63) * 4 + b"\0",
    ],
)
def test_a_name_that_leads_nowhere_is_the_documented_error(octets: bytes) -> None:
    with pytest.raises(wire.WireError):
        read_name(octets, 12)


def test_a_message_that_grows_beyond_64_kibibytes_is_refused() -> None:
    labels = [f"{number:03x}".encode() for number in range(4000)]
    aliases = b"".join(record(33, b"\0\0\0\0\0\0\3" + label + TO_QNAME) for label in labels)
    octets = message(aliases, (len(labels), 0, 0), response=True)
    with pytest.raises(wire.WireError, match="longer"):
        HASH.message(octets)


def test_no_more_digests_are_remembered_than_the_bound() -> None:
    renamer = Renamer(b"key")
    count = NAMES_KEPT + 10
    assert len({renamer.name(b"\3%b\0" % number.to_bytes(3, "big")) for number in range(count)}) == count
    assert len(renamer._known) == 10
