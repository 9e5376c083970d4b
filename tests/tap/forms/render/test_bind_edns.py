"""EDNS options as BIND checks and prints them."""

import pytest

from dnsproxy.tap.forms.render.bind_edns import read_options, text_lines, yaml_lines
from dnsproxy.tap.forms.render.bind_names import Unparsable
from tests.support.wire import option


def read(code: int, data: str) -> list[tuple[int, bytes]]:
    octets = option(code, bytes.fromhex(data))
    return read_options(octets, 0, len(octets))


def test_the_pseudo_section_has_version_flags_and_size() -> None:
    assert text_lines(1232, 0, []) == [";; OPT PSEUDOSECTION:", "; EDNS: version: 0, flags:; udp: 1232"]
    assert text_lines(4096, 0x0103_C001, [])[1] == "; EDNS: version: 3, flags: do co; MBZ: 0x0001, udp: 4096"
    assert yaml_lines(4096, 0x0003_8001, []) == [
        "OPT_PSEUDOSECTION:",
        "  EDNS:",
        "    version: 3",
        "    flags: do",
        "    MBZ: 0x0001",
        "    udp: 4096",
    ]


@pytest.mark.parametrize(
    ("code", "data", "line", "yaml"),
    [
        (
            1,
            "000100020003000000000000000400000005",
            "LLQ: Version: 1, Opcode: 2, Error: 3, Identifier: 4, Lifetime: 5",
            "=",
        ),
        (3, "6e7300", 'NSID: 6e 73 00 ("ns.")', "="),
        (3, "", "NSID:", "="),
        (8, "00011800c00002", "CLIENT-SUBNET: 192.0.2.0/24/0", "="),
        (8, "0002382020010db8000100", "CLIENT-SUBNET: 2001:db8:1::/56/32", "="),
        (8, "00000000", "CLIENT-SUBNET: 0/0/0", "="),
        (9, "", "EXPIRE:", "="),
        (9, "00000e11", "EXPIRE: 3601 (1 hour 1 second)", "="),
        (9, "00000000", "EXPIRE: 0 (0 seconds)", "="),
        (
            9,
            "4b3d3f6b",
            "EXPIRE: 1262305131 (2087 weeks 1 day 18 minutes 51 seconds)",
            "EXPIRE: 126230513 (2087 weeks 1 day 18 minutes 51 seconds)",
        ),
        (10, "0102030405060708", "COOKIE: 0102030405060708", "="),
        (11, "0065", "TCP KEEPALIVE: 10.1 secs", "TCP-KEEPALIVE: 10.1 secs"),
        (11, "", "TCP KEEPALIVE:", "TCP-KEEPALIVE:"),
        (11, "41", 'TCP KEEPALIVE: 41 ("A")', 'TCP-KEEPALIVE: 41 ("A")'),
        (12, "0000", "PAD: (2 bytes)", 'PAD: 00 00 ("..")'),
        (12, "", "PAD:", "="),
        (14, "00014f66", "KEY-TAG: 1, 20326", "="),
        (16, "0007", "CLIENT-TAG: 7", "="),
        (17, "0008", "SERVER-TAG: 8", "="),
        (65001, "41ff", 'OPT=65001: 41 ff ("A.")', "="),
    ],
)
def test_each_option_has_its_form(code: int, data: str, line: str, yaml: str) -> None:
    options = read(code, data)
    assert text_lines(512, 0, options)[2:] == [f"; {line}"]
    assert yaml_lines(512, 0, options)[5:] == [f"    {line if yaml == '=' else yaml}"]


def test_an_extended_error_has_its_word_and_its_text() -> None:
    options = read(15, "000f" + "é\tno\x7f".encode().hex())
    assert text_lines(512, 0, options)[2:] == ["; EDE: 15 (Blocked): (é.no.)"]
    assert yaml_lines(512, 0, options)[5:] == ["    EDE:", "      INFO-CODE: 15 (Blocked)", '      EXTRA-TEXT: "é.no."']


def test_an_extended_error_without_text_has_an_empty_line_in_yaml() -> None:
    assert text_lines(512, 0, read(15, "03e8"))[2:] == ["; EDE: 1000"]
    assert yaml_lines(512, 0, read(15, "03e8"))[5:] == ["    EDE:", "      INFO-CODE: 1000", ""]


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (1, "00" * 17),
        (8, "000100"),
        (8, "00010100"),
        (8, "00012100c000020100"),
        (8, "00011721c00002"),
        (8, "00011700c00003"),
        (8, "00011800c0000201"),
        (8, "00000100"),
        (8, "00031800c00002"),
        (9, "00"),
        (10, "00" * 7),
        (10, "00" * 12),
        (10, "00" * 41),
        (14, ""),
        (14, "00"),
        (15, "00"),
        (15, "0000ff"),
        (15, "0000efbbbf61"),
        (16, ""),
        (17, "000000"),
    ],
)
def test_a_wrong_option_is_refused(code: int, data: str) -> None:
    with pytest.raises(Unparsable):
        read(code, data)


def test_options_that_are_cut_are_refused() -> None:
    for octets in (b"\0", option(3, b"abc")[:-1]):
        with pytest.raises(Unparsable):
            read_options(octets, 0, len(octets))
