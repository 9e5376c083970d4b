"""Messages as miekg/dns prints them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render import miekg
from dnsproxy.tap.forms.render.miekg import Malformed, first_question, message_text
from tests.support.wire import name_to_wire, opt_record

QUESTION = name_to_wire("www.example.org") + b"\0\1\0\1"
ADDRESS = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 300, 4) + bytes((192, 0, 2, 10))


def message(*parts: bytes, flags: int = 0x8180, counts: tuple[int, ...] = (1, 0, 0, 0), id: int = 4660) -> bytes:
    return struct.pack("!HHHHHH", id, flags, *counts) + b"".join(parts)


def test_a_response_is_printed_as_dig_would() -> None:
    wire = message(QUESTION, ADDRESS, ADDRESS, ADDRESS, opt_record(), counts=(1, 1, 1, 2))
    assert message_text(wire) == (
        ";; opcode: QUERY, status: NOERROR, id: 4660\n"
        ";; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 1, ADDITIONAL: 2\n"
        "\n"
        ";; OPT PSEUDOSECTION:\n"
        "; EDNS: version 0; flags: ; udp: 1232\n"
        "\n"
        ";; QUESTION SECTION:\n"
        ";www.example.org.\tIN\t A\n"
        "\n"
        ";; ANSWER SECTION:\n"
        "www.example.org.\t300\tIN\tA\t192.0.2.10\n"
        "\n"
        ";; AUTHORITY SECTION:\n"
        "www.example.org.\t300\tIN\tA\t192.0.2.10\n"
        "\n"
        ";; ADDITIONAL SECTION:\n"
        "www.example.org.\t300\tIN\tA\t192.0.2.10\n"
    )


def test_flags_are_in_the_header_s_order() -> None:
    text = message_text(message(QUESTION, flags=0x87F0))
    assert ";; flags: qr aa tc rd ra z ad cd; QUERY: 1" in text


@pytest.mark.parametrize(
    ("flags", "start"), [(0x1803, ";; opcode: , status: NXDOMAIN,"), (0x280B, ";; opcode: UPDATE, status: ,")]
)
def test_an_unknown_opcode_or_rcode_is_nothing(flags: int, start: str) -> None:
    assert message_text(message(QUESTION, flags=flags)).startswith(start)


def test_badvers_is_called_badsig() -> None:
    wire = message(QUESTION, opt_record(extended_rcode=1), counts=(1, 0, 0, 1))
    assert "status: BADSIG," in message_text(wire)


def test_the_last_opt_of_the_additional_section_counts_and_others_are_not_listed() -> None:
    wire = message(QUESTION, opt_record(size=512), opt_record(size=4096), counts=(1, 0, 0, 2))
    text = message_text(wire)
    assert "udp: 4096\n" in text
    assert text.endswith("ADDITIONAL SECTION:\n")


def test_an_opt_in_the_answer_section_is_a_section_in_it() -> None:
    text = message_text(message(QUESTION, opt_record(), counts=(1, 1, 0, 0)))
    assert text.endswith(";; ANSWER SECTION:\n\n;; OPT PSEUDOSECTION:\n; EDNS: version 0; flags: ; udp: 1232\n")


def test_types_and_classes_without_a_word_are_numbers() -> None:
    record = b"\0" + struct.pack("!HHIH", 65280, 255, 1, 2) + b"\xab\xcd"
    odd = b"\0\xff\xff\0\xff"
    text = message_text(message(odd, record, counts=(1, 1, 0, 0)))
    assert ";.\tCLASS255\t Reserved\n" in text
    assert text.endswith(".\t1\tCLASS255\tTYPE65280\t\\# 2 abcd\n")


def test_what_has_no_presentation_form_is_a_comment() -> None:
    null = b"\0" + struct.pack("!HHIH", 10, 1, 1, 3) + b"a\xff\n"
    tsig = b"\1k\0" + struct.pack("!HHIH", 250, 255, 0, 1) + b"\0"
    text = message_text(message(QUESTION, null, tsig, counts=(1, 1, 0, 1)))
    assert "\n;.\t1\tIN\tNULL\ta\udcff\n\n" in text
    assert "\n\n;; TSIG PSEUDOSECTION:\n; k.\t0\tCLASS255\tTSIG\t . 19700101000000 0 0  0 0 0 \n" in text


def test_a_message_may_end_behind_the_header_whatever_it_announces() -> None:
    assert message_text(message(counts=(1, 2, 3, 4))).endswith("QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0\n")


def test_a_message_may_end_behind_any_record_and_within_a_question() -> None:
    assert "ANSWER: 1," in message_text(message(QUESTION, ADDRESS, counts=(1, 7, 0, 0)))
    assert "\tCLASS0\t A\n" in message_text(message(QUESTION[:-2]))
    assert "\tCLASS0\t A\n" in message_text(message(QUESTION[:-1]))
    assert "\tCLASS0\t None\n" in message_text(message(QUESTION[:-4]))


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"\0" * 11, "dns: overflow unpacking uint16"),
        (message(QUESTION[:-3]), "dns: overflow unpacking uint16"),
        (message(QUESTION, ADDRESS[:5], counts=(1, 1, 0, 0)), "dns: overflow unpacking uint16"),
        (message(QUESTION, ADDRESS[:8], counts=(1, 1, 0, 0)), "dns: overflow unpacking uint32"),
        (message(QUESTION, ADDRESS[:11], counts=(1, 1, 0, 0)), "dns: overflow unpacking uint16"),
        (message(QUESTION, ADDRESS[:-1], counts=(1, 1, 0, 0)), "dns: overflowing header size"),
    ],
)
def test_a_message_that_is_cut_elsewhere_is_malformed(wire: bytes, why: str) -> None:
    with pytest.raises(Malformed) as caught:
        message_text(wire)
    assert str(caught.value) == why


def test_a_message_that_comes_again_has_its_own_id() -> None:
    first, second = message(QUESTION, id=1), message(QUESTION, id=65535)
    assert message_text(first).replace("id: 1\n", "id: 65535\n") == message_text(second)


def test_a_name_that_takes_its_octets_from_the_id_is_read_anew() -> None:
    texts = [message_text(message(b"\xc0\x00\0\1\0\1", id=0x0100 | letter, flags=0)) for letter in b"ab"]
    assert [text.splitlines()[-1] for text in texts] == [";a.\tIN\t A", ";b.\tIN\t A"]


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miekg, "_texts", {})
    monkeypatch.setattr(miekg, "MESSAGES_KEPT", 10)
    for number in range(25):
        message_text(message(name_to_wire(f"{number}.example.org") + b"\0\1\0\1"))
        assert len(miekg._texts) <= 10
    message_text(message(QUESTION, *[ADDRESS] * 40, counts=(1, 40, 0, 0)))
    assert all(len(key) < miekg.LONGEST_KEPT for key in miekg._texts)


def test_the_first_question_is_that_of_a_message_that_can_be_unpacked() -> None:
    assert first_question(message(QUESTION)) == ("www.example.org.", "IN", "A")
    assert first_question(message(QUESTION, counts=(0, 0, 0, 0))) is None
    assert first_question(message()) is None
    assert first_question(message(QUESTION, ADDRESS[:-1], counts=(1, 1, 0, 0))) is None


@given(st.binary(max_size=80), st.integers(0, 0xFFFF), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_any_octets_have_a_text_or_are_malformed(octets: bytes, flags: int, counts: list[int]) -> None:
    try:
        text = message_text(message(octets, flags=flags, counts=tuple(counts)))
    except Malformed as exc:
        text = str(exc)
    assert text.startswith(("dns: ", ";; opcode: "))
