"""Records plugins made of zone text, and what they answer: what the plugin's tests share."""

import struct
import textwrap
from collections.abc import Awaitable
from typing import Any

import dns.message
import dns.name
import dns.rdatatype
from dnsproxy_records import Records, RecordsConfig

from dnsproxy.address import Address
from dnsproxy.message import Endpoint, Query, Response
from dnsproxy.shape import shape_of
from dnsproxy.wire import name_from_text

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
