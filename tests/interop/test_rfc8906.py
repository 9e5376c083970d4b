"""What RFC 8906 section 8 asks of a server, by its dig commands, with a well-behaved NSD behind the proxy."""

import re

import pytest

from tests.support.programs import dig
from tests.support.proxy import Proxy

pytestmark = pytest.mark.interop

PLAIN = ("+noedns", "+noad", "+norec")
EDNS = ("+nocookie", "+edns=0", "+noad", "+norec")
EDNS_1 = ("+nocookie", "+edns=1", "+noednsneg", "+noad", "+norec")

# The section, the command, and its expectations as patterns; a leading "!" says: not there.
TESTS = {
    "8.1.1 is the server configured": (
        [*PLAIN, "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", r"flags:.* aa", "!flags:.* (rd|ad|ra)", "!OPT PSEUDO"],
    ),
    "8.1.2 unknown types": (
        [*PLAIN, "type1000", "example.org"],
        ["status: NOERROR", "ANSWER: 0,", r"flags:.* aa", "!flags:.* (rd|ad)", "!OPT PSEUDO"],
    ),
    "8.1.3.1 CD=1": (
        [*PLAIN, "+cd", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", r"flags:.* aa", "!flags:.* (rd|ad)", "!OPT PSEUDO"],
    ),
    "8.1.3.2 AD=1": (
        ["+noedns", "+norec", "+ad", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", r"flags:.* aa", "!flags:.* rd", "!OPT PSEUDO"],
    ),
    "8.1.3.3 reserved bit": (
        [*PLAIN, "+zflag", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "!MBZ", r"flags:.* aa", "!flags:.* (rd|ad)", "!OPT PSEUDO"],
    ),
    "8.1.3.4 recursive query": (
        ["+noedns", "+noad", "+rec", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", r"flags:.* aa", r"flags:.* rd", "!flags:.* ad", "!OPT PSEUDO"],
    ),
    "8.1.4 unknown opcodes": (
        ["+noedns", "+noad", "+opcode=15", "+norec", "+header-only"],
        [
            "status: NOTIMP",
            "opcode: RESERVED15",
            "QUERY: 0, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: 0",
            "!flags:.* (aa|rd|ad)",
            "!OPT PSEUDO",
        ],
    ),
    "8.1.5 TCP": (
        [*PLAIN, "+tcp", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", r"flags:.* aa", "!flags:.* (rd|ad)", "!OPT PSEUDO"],
    ),
    "8.2.1 minimal EDNS": (
        [*EDNS, "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "EDNS: version: 0", r"flags:.* aa", "!flags:[a-z ]* ad"],
    ),
    "8.2.2 EDNS version negotiation": (
        [*EDNS_1, "soa", "example.org"],
        ["status: BADVERS", "!ANSWER SECTION", "EDNS: version: 0", "!flags:[a-z ]* (ad|aa)"],
    ),
    "8.2.3 unknown EDNS options": (
        [*EDNS, "+ednsopt=100", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "EDNS: version: 0", "!OPT=100", r"flags:.* aa"],
    ),
    "8.2.4 unknown EDNS flags": (
        [*EDNS, "+ednsflags=0x40", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "EDNS: version: 0", "!MBZ", r"flags:.* aa"],
    ),
    "8.2.5 version negotiation, unknown flags": (
        [*EDNS_1, "+ednsflags=0x40", "soa", "example.org"],
        ["status: BADVERS", "!ANSWER SECTION", "EDNS: version: 0", "!MBZ", "!flags:[a-z ]* (ad|aa)"],
    ),
    "8.2.6 version negotiation, unknown options": (
        [*EDNS_1, "+ednsopt=100", "soa", "example.org"],
        ["status: BADVERS", "!ANSWER SECTION", "EDNS: version: 0", "!OPT=100", "!flags:[a-z ]* (ad|aa)"],
    ),
    "8.2.7 truncated responses": (
        ["+norec", "+dnssec", "+bufsize=512", "+ignore", "big.example.org", "txt"],
        ["status: NOERROR", r"flags:[a-z ]* tc", "EDNS: version: 0"],
    ),
    "8.2.8 DO=1": (
        [*EDNS, "+dnssec", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "EDNS: version: 0", r"flags:.* aa"],
    ),
    "8.2.9 version negotiation, DO=1": (
        [*EDNS_1, "+dnssec", "soa", "example.org"],
        ["status: BADVERS", "!ANSWER SECTION", r"EDNS: version: 0, flags: do;", "!flags:[a-z ]* (ad|aa)"],
    ),
    "8.2.10 several defined options": (
        ["+edns=0", "+noad", "+norec", "+cookie", "+nsid", "+expire", "+subnet=0.0.0.0/0", "soa", "example.org"],
        ["status: NOERROR", r"ANSWER SECTION:\n.*SOA", "EDNS: version: 0", r"flags:.* aa"],
    ),
    "8.3 version negotiation over TCP": (
        [*EDNS_1, "+tcp", "soa", "example.org"],
        ["status: BADVERS", "EDNS: version: 0"],
    ),
}


@pytest.mark.parametrize(("command", "expected"), TESTS.values(), ids=TESTS.keys())
def test_rfc_8906_section(proxy: Proxy, command: list[str], expected: list[str]) -> None:
    output = dig(proxy.port, "+qr", *command).partition(";; Got answer:")[2]
    for pattern in expected:
        found = re.search(pattern.removeprefix("!"), output)
        assert bool(found) == (not pattern.startswith("!")), f"{pattern} in:\n{output}"
