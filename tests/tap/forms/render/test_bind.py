"""Messages as BIND prints them."""

import struct

from dnsproxy.tap.forms.render.bind import text, yaml
from dnsproxy.tap.forms.render.bind_message import Message
from tests.support.wire import name_to_wire, opt_record

QUESTION = name_to_wire("www.example.org") + b"\0\1\0\1"


def record(type: int, data: bytes, name: bytes = b"\xc0\x0c", rclass: int = 1, ttl: int = 300) -> bytes:
    return name + struct.pack("!HHIH", type, rclass, ttl, len(data)) + data


def message(*parts: bytes, flags: int = 0x8180, counts: tuple[int, ...] = (1, 0, 0, 0)) -> Message:
    return Message(struct.pack("!HHHHHH", 4660, flags, *counts) + b"".join(parts))


RESPONSE = message(
    QUESTION,
    record(1, bytes((192, 0, 2, 10))),
    record(28, bytes.fromhex("20010db8") + bytes(12)),
    record(16, b"\4it's"),
    record(2, b"\3ns1\xc0\x10", name=b"\xc0\x10"),
    opt_record(),
    counts=(1, 3, 1, 1),
)


def test_a_response_is_printed_in_columns() -> None:
    assert text(RESPONSE) == (
        ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id:   4660\n"
        ";; flags: qr rd ra; QUESTION: 1, ANSWER: 3, AUTHORITY: 1, ADDITIONAL: 1\n"
        ";; OPT PSEUDOSECTION:\n"
        "; EDNS: version: 0, flags:; udp: 1232\n"
        ";; QUESTION SECTION:\n"
        ";www.example.org.\t\tIN\tA\n"
        "\n"
        ";; ANSWER SECTION:\n"
        "www.example.org.\t300\tIN\tA\t192.0.2.10\n"
        "www.example.org.\t300\tIN\tAAAA\t2001:db8::\n"
        'www.example.org.\t300\tIN\tTXT\t"it\'s"\n'
        "\n"
        ";; AUTHORITY SECTION:\n"
        "example.org.\t\t300\tIN\tNS\tns1.example.org.\n"
        "\n"
    )


def test_the_indentation_stands_in_the_middle_of_the_flags_too() -> None:
    lines = text(message(QUESTION, flags=0x01F0), "    ").splitlines()
    assert lines == [
        "    ;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id:   4660",
        "    ;; flags: rd ra ad cd    ; MBZ: 0x4    ; QUESTION: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0",
        "    ;; QUESTION SECTION:",
        "    ;www.example.org.\t\tIN\tA",
        "    ",
    ]


def test_yaml_has_a_string_for_each_record_its_quotes_doubled_and_no_address_with_an_open_end() -> None:
    assert yaml(RESPONSE) == (
        "    opcode: QUERY\n"
        "    status: NOERROR\n"
        "    id: 4660\n"
        "    flags: qr rd ra\n"
        "    QUESTION: 1\n"
        "    ANSWER: 3\n"
        "    AUTHORITY: 1\n"
        "    ADDITIONAL: 1\n"
        "    OPT_PSEUDOSECTION:\n"
        "      EDNS:\n"
        "        version: 0\n"
        "        flags:\n"
        "        udp: 1232\n"
        "    QUESTION_SECTION:\n"
        "      - 'www.example.org. IN A'\n"
        "    ANSWER_SECTION:\n"
        "      - 'www.example.org. 300 IN A 192.0.2.10'\n"
        "      - 'www.example.org. 300 IN AAAA 2001:db8::0'\n"
        "      - 'www.example.org. 300 IN TXT \"it''s\"'\n"
        "    AUTHORITY_SECTION:\n"
        "      - 'example.org. 300 IN NS ns1.example.org.'\n"
    )


def test_addresses_in_other_types_are_closed_in_yaml() -> None:
    prefix = bytes.fromhex("00022004 20010db8".replace(" ", ""))
    found = yaml(message(QUESTION, record(42, prefix), record(38, bytes(16) + b"\0"), counts=(1, 2, 0, 0)))
    assert "APL 2:2001:db8::0/32'" in found
    assert "A6 0 ::0'" in found


def test_an_update_s_sections_have_names_of_their_own() -> None:
    zone = name_to_wire("example.org") + b"\0\6\0\1"
    found = message(
        zone, record(255, b"", rclass=255, ttl=0), record(1, b"", rclass=255), flags=0x2800, counts=(1, 1, 1, 0)
    )
    assert ";; flags:; ZONE: 1, PREREQ: 1, UPDATE: 1, ADDITIONAL: 0\n;; ZONE SECTION:\n" in text(found)
    assert ";; PREREQUISITE SECTION:\nexample.org.\t\t0\tANY\tANY\t\n" in text(found)
    assert "    UPDATE_SECTION:\n      - 'example.org. 300 ANY A '\n" in yaml(found)


def test_long_names_and_numbers_are_followed_by_one_blank() -> None:
    name = name_to_wire("a-name-that-is-too-long-for-its-column.example.org")
    found = message(QUESTION, record(1, b"\1\1\1\1", name=name, ttl=4_294_967_295), counts=(1, 1, 0, 0))
    assert "\na-name-that-is-too-long-for-its-column.example.org. 4294967295 IN A 1.1.1.1\n" in text(found)


def test_signatures_of_the_message_stand_at_its_end() -> None:
    tsig = b"\0" + bytes(8) + b"\0\0" + bytes(4) + b"\0\0"
    found = message(QUESTION, record(250, tsig, name=b"\1k\0", rclass=255, ttl=0), counts=(1, 0, 0, 1))
    assert text(found, "  ").endswith("  ;; TSIG PSEUDOSECTION:\n  k.\t\t\t0\tANY\tTSIG\t. 0 0 0 0 NOERROR 0 \n\n")
    assert yaml(found).endswith("    TSIG_PSEUDOSECTION:\n    - 'k. 0 ANY TSIG . 0 0 0 0 NOERROR 0 '\n\n")
    sig = record(24, bytes(18) + b"\0sig", name=b"\0", rclass=255, ttl=0)
    assert ";; SIG0 PSEUDOSECTION:\n." in text(message(QUESTION, sig, counts=(1, 0, 0, 1)))


def test_opcodes_and_rcodes_have_words_or_numbers() -> None:
    badvers = message(QUESTION, opt_record(extended_rcode=1), flags=0x9980, counts=(1, 0, 0, 1))
    assert "opcode: RESERVED3, status: BADVERS," in text(badvers)
    odd = message(QUESTION, opt_record(extended_rcode=255), flags=0x800F, counts=(1, 0, 0, 1))
    assert "status: 4095\n" in yaml(odd)
    assert "status: RESERVED15," in text(message(QUESTION, flags=0x800F))


def test_types_and_classes_without_a_word_are_numbers() -> None:
    found = message(b"\0\xff\xff\x10\x00", record(65280, b"\xab", name=b"\0", rclass=4096), counts=(1, 1, 0, 0))
    assert ";.\t\t\t\tCLASS4096 TYPE65535\n" in text(found)
    assert "\n.\t\t\t300\tCLASS4096 TYPE65280 \\# 1 AB\n" in text(found)
