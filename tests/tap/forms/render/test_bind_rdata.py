"""Record data as BIND checks and prints it."""

import struct

import pytest

from dnsproxy.tap.forms.render.bind_names import Unparsable
from dnsproxy.tap.forms.render.bind_rdata import data_text, deleted_text
from tests.support.record_examples import EXAMPLES

IN, CH, HS, NONE, ANY = 1, 3, 4, 254, 255
TSIG = 250
WITHOUT_DATA = {10, 42, 100, 101, 65280}  # NULL, APL, and what BIND has no form for


def text(type: int, data: bytes, rclass: int = IN) -> str:
    return data_text(data, 0, len(data), type, rclass)


@pytest.mark.parametrize(("type", "data", "expected"), [(type, data, bind) for type, data, _, bind in EXAMPLES])
def test_each_type_has_its_form(type: int, data: bytes, expected: str) -> None:
    assert text(type, data, ANY if type == TSIG else IN) == expected


@pytest.mark.parametrize(("type", "data"), [(type, data) for type, data, _, _ in EXAMPLES if type not in WITHOUT_DATA])
def test_most_types_must_have_data(type: int, data: bytes) -> None:
    assert data
    with pytest.raises(Unparsable):
        text(type, b"", ANY if type == TSIG else IN)


@pytest.mark.parametrize(
    ("type", "data", "rclass", "expected"),
    [
        (1, b"\2ch\0\1\7", CH, "ch. 407"),
        (1, bytes((192, 0, 2, 1)), HS, "192.0.2.1"),
        (1, bytes((192, 0, 2, 1)), 2, "\\# 4 C0000201"),
        (33, b"\0\0\0\0\0\0\0", CH, "\\# 7 00000000000000"),
        (10, b"", IN, "\\# 0"),
        (42, b"", IN, ""),
        (42, b"\0\3\1\1\1", IN, "\\# 5 0003010101"),
        (29, b"\1\2", IN, "\\# 2 0102"),
        (34, b"\0\x47\x05", IN, "4705"),
        (34, b"\2\1", IN, "\\# 2 0201"),
        (45, b"\x0a\3\2\1g\0k", IN, "10 3 2 g. aw=="),
        (45, b"\x0a\0\2k", IN, "10 0 2 . aw=="),
        (260, b"\x0a\x84xyz", IN, "\\# 5 0A8478797A"),
        (260, b"\x0a\0", IN, "10 0 0 ."),
        (260, b"\x0a\3\1g\0", IN, "10 0 3 g."),
        (38, b"\x80\1p\0", IN, "128  p."),
        (38, bytes(16) + b"\1", IN, "0 ::1"),
        (44, b"\1\3", IN, "1 3"),
        (25, b"\xc0\0\3\1", IN, "49152 3 1"),
        (24, b"\0\0" + bytes(16) + b"\0k", IN, "0 0 0 0 19700101000000 19700101000000 0 . aw=="),
        (24, b"\xff\xfd" + bytes(16) + b"\0k", IN, "TYPE65533 0 0 0 19700101000000 19700101000000 0 . aw=="),
        (256, b"\0\1\0\2", IN, '1 2 ""'),
    ],
)
def test_a_form_depends_on_class_and_kind(type: int, data: bytes, rclass: int, expected: str) -> None:
    assert text(type, data, rclass) == expected


@pytest.mark.parametrize(
    ("type", "data"),
    [
        (0, b"abc"),
        (1, b"\1\2\3"),
        (1, b"\1\2\3\4\5"),
        (2, b"\0\0"),
        (6, b"\0\0" + bytes(19)),
        (11, bytes(5) + b"\1\0"),
        (16, b"\2a"),
        (19, b"\3123"),
        (19, b"\x05123a5"),
        (25, b"\0\0\3\1"),
        (25, b"\xc0\0\3\1k"),
        (29, b"\0\xa1\0\0" + bytes(12)),
        (29, b"\0\0\0\0\0" + bytes(11)),
        (30, b"\0\x80"),
        (34, b"\1a"),
        (35, bytes(4) + b"\0\0\2!!\0"),
        (38, b"\x81"),
        (38, b"\x01\x80" + bytes(15) + b"\0"),
        (42, b"\0\1\x21\0"),
        (42, b"\0\1\1\1\0"),
        (43, bytes(3) + b"\1" + bytes(19)),
        (43, bytes(3) + b"\1" + bytes(21)),
        (44, b"\1\1" + bytes(19)),
        (45, b"\x0a\4\2k"),
        (45, b"\x0a\1\2\1\2\3\4"),
        (46, b"\0\1\0\0" + bytes(14) + b"\1a\0sig"),
        (47, b"\0"),
        (47, b"\0\0\1\0"),
        (47, b"\0\1\1\1\0\1\1"),
        (50, b"\1\0\0\0\0\x13" + bytes(19)),
        (50, b"\2\0\0\0\0\x28" + bytes(40)),
        (51, b"\1\0\0\0\1"),
        (55, b"\0\1\0\1k"),
        (57, b"\0\1\0\0k"),
        (63, bytes(4) + b"\1\1" + bytes(47)),
        (257, b"\0\0"),
        (257, b"\0\2a-"),
        (259, bytes(9) + b"\1"),
        (260, b"\0\0\0"),
    ],
)
def test_wrong_data_is_refused(type: int, data: bytes) -> None:
    with pytest.raises(Unparsable):
        text(type, data)


def test_a_private_key_s_name_is_shown_without_compression() -> None:
    wire = b"\1a\0" + struct.pack("!HBB", 256, 3, 253) + b"\xc0\x00key"
    assert data_text(wire, 3, len(wire), 48, IN) == "256 3 253 AWEAa2V5"  # b"\1a\0key"


def test_identities_of_a_host_have_room_without_compression() -> None:
    name = b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 63 + b"\x3f" + b"z" * 63 + b"\x3d" + b"w" * 61 + b"\0"
    data = b"\1\2\0\1hk" + b"\xc0\x00" * 257
    wire = name + data
    with pytest.raises(Unparsable):
        data_text(wire, len(name), len(wire), 55, IN)
    assert data_text(wire, len(name), len(wire) - 4, 55, IN).count(" ") == 2 + 255


def test_what_an_update_deletes_is_checked_as_of_its_zone_and_shown_as_of_no_class() -> None:
    service = b"\1a\0" + b"\0\1\0\2\0\3\xc0\x00"
    assert deleted_text(service, 3, len(service), 33, IN) == "\\# 9 000100020003016100"
    assert deleted_text(b"\0\5\0", 0, 3, 15, IN) == "5 ."
    six = b"\1a\0" + b"\x78\x01\xc0\x00"
    assert deleted_text(six, 3, len(six), 38, IN) == "\\# 5 7801016100"
    with pytest.raises(Unparsable):
        deleted_text(b"\1\2\3", 0, 3, 1, IN)
