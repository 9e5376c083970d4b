"""Record data as miekg/dns prints it."""

import pytest

from dnsproxy.tap.forms.render.miekg_names import Malformed
from dnsproxy.tap.forms.render.miekg_rdata import DATA, UNKNOWN
from tests.support.record_examples import EXAMPLES


def text(type: int, data: bytes) -> str:
    return DATA.get(type, UNKNOWN).text(data, 0, len(data))


@pytest.mark.parametrize(("type", "data", "expected"), [(type, data, miekg) for type, data, miekg, _ in EXAMPLES])
def test_each_type_has_its_form(type: int, data: bytes, expected: str) -> None:
    assert text(type, data) == expected


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        (1, ""),
        (5, ""),
        (6, "  0 0 0 0 0"),
        (13, '"" ""'),
        (15, "0 "),
        (16, ""),
        (29, "596 31 23.648 S 596 31 23.648 W -100000m 0.00m 0.00m 0.00m"),
        (35, '0 0 "" "" "" '),
        (37, "0 0 0 "),
        (42, ""),
        (46, "None 0 0 0 19700101000000 19700101000000 0  "),
        (50, "0 0 0 - "),
        (64, "0 "),
        (104, "0 0000:0000:0000:0000"),
        (105, "0"),
        (108, "00-00-00-00-00-00"),
        (257, '0  ""'),
        (65280, "\\# 0 "),
    ],
)
def test_a_type_without_any_data_has_what_stands_for_none(type: int, expected: str) -> None:
    assert DATA.get(type, UNKNOWN).absent == expected


def test_data_may_end_behind_most_fields() -> None:
    assert text(15, b"\0\5") == "5 "
    assert text(33, b"\0\1\0\2") == "1 2 0 "
    assert text(6, b"\0") == ".  0 0 0 0 0"


@pytest.mark.parametrize(
    ("type", "data", "why"),
    [
        (1, "c00002", "overflow unpacking a"),
        (1, "c000020100", "bad rdlength"),
        (28, "20010db8", "overflow unpacking aaaa"),
        (5, "0000", "bad rdlength"),
        (15, "00", "overflow unpacking uint16"),
        (6, "00000001", "overflow unpacking uint32"),
        (16, "0561", "overflow unpacking txt"),
        (108, "0000", "overflow unpacking uint64 as uint48"),
        (47, "0000", "overflow unpacking NSEC"),
        (47, "00000001", "empty NSEC"),
        (47, "000021" + "00" * 33, "too long in type bitmap"),
        (47, "00000500", "overflowing NSEC"),
        (47, "000101ff0001ff", "out of order"),
        (51, "0100000a0500", "overflow unpacking hex"),
        (42, "000300", "overflow unpacking APL prefix"),
        (42, "00030000", "unrecognized APL address family"),
        (42, "00012100", "APL prefix too long"),
        (42, "00010005", "APL length too long"),
        (42, "00010002c0", "overflow unpacking APL address"),
        (42, "00010002c000", "extra APL address bits"),
        (255, "00", "bad rdlength"),
    ],
)
def test_wrong_data_has_the_library_s_error(type: int, data: str, why: str) -> None:
    with pytest.raises(Malformed, match=f"dns: .*{why}"):
        text(type, bytes.fromhex(data))


def test_a_type_bitmap_has_words_and_numbers() -> None:
    assert text(47, bytes.fromhex("00 000180 ff2000".replace(" ", "")) + bytes(30) + b"\1") == ". None Reserved"


def test_caa_and_uri_take_what_is_on_the_wire_for_escaped_text() -> None:
    assert text(257, b"\0\5issue" + rb"a\065\.\"\q" + b"\xe9") == '0 issue "aA\\.\\"q\\233"'
    assert text(256, b"\0\1\0\2" + b"ends with \\") == '1 2 "ends with "'


def test_a_long_certificate_of_smimea_has_a_blank_after_every_1024_digits() -> None:
    assert text(53, b"\3\0\0" + bytes(512)) == f"3 0 0 {'0' * 1024} "
    assert text(53, b"\3\0\0" + bytes(513)) == f"3 0 0 {'0' * 1024} 00"


def test_a_host_s_servers_may_all_be_pointers_but_only_to_so_much_text() -> None:
    name = b"\x3f" + b"\xff" * 63 + b"\0"
    head = name + b"\1\2\0\1hk"
    few, many = head + b"\xc0\x00\xc0\x40\xc0\x00", head + b"\xc0\x00" * 1040
    octets = "\\255" * 63
    assert DATA[55].text(few, len(name), len(few)) == f"2 68 aw== {octets}. . {octets}."
    with pytest.raises(Malformed):
        DATA[55].text(many, len(name), len(many))
