"""Numbers and words of dnstap.proto, and how operators name message types."""

from __future__ import annotations

from enum import IntEnum

from dnsproxy.options import did_you_mean


class MessageType(IntEnum):
    """What a message is: who sent it to whom, seen from where."""

    AUTH_QUERY = 1
    AUTH_RESPONSE = 2
    RESOLVER_QUERY = 3
    RESOLVER_RESPONSE = 4
    CLIENT_QUERY = 5
    CLIENT_RESPONSE = 6
    FORWARDER_QUERY = 7
    FORWARDER_RESPONSE = 8
    STUB_QUERY = 9
    STUB_RESPONSE = 10
    TOOL_QUERY = 11
    TOOL_RESPONSE = 12
    UPDATE_QUERY = 13
    UPDATE_RESPONSE = 14

    @property
    def mnemonic(self) -> str:
        """Two letters, as the `dnstap` program prints them: CQ, FR, …"""
        party, direction = self.name.split("_")
        return party[0] + direction[0]


class SocketFamily(IntEnum):
    """IP version."""

    INET = 1
    INET6 = 2


class SocketProtocol(IntEnum):
    """How a message travelled."""

    UDP = 1
    TCP = 2
    DOT = 3
    DOH = 4
    DNSCryptUDP = 5
    DNSCryptTCP = 6
    DOQ = 7


# what consumers that know only UDP and TCP are told: the protocol below
CARRIED_BY = {
    int(protocol): int(SocketProtocol.UDP if protocol.name in {"DOQ", "DNSCryptUDP"} else SocketProtocol.TCP)
    for protocol in SocketProtocol
    if protocol > SocketProtocol.TCP
}


class HttpProtocol(IntEnum):
    """Version of HTTP, where the protocol is DOH."""

    HTTP1 = 1
    HTTP2 = 2
    HTTP3 = 3


class PolicyAction(IntEnum):
    """What a policy did to the response."""

    NXDOMAIN = 1
    NODATA = 2
    PASS = 3
    DROP = 4
    TRUNCATE = 5
    LOCAL_DATA = 6


class PolicyMatch(IntEnum):
    """What a policy looked at."""

    QNAME = 1
    CLIENT_IP = 2
    RESPONSE_IP = 3
    NS_NAME = 4
    NS_IP = 5


ALL = "all"
ALL_TYPES = frozenset(MessageType)
PARTIES = tuple(sorted({type.name.partition("_")[0].casefold() for type in MessageType}))
TYPE_FORMS = (
    " or ".join([", ".join(f'"{word}"' for word in (ALL, *PARTIES[:-1])), f'"{PARTIES[-1]}"'])
    + ', each alone or followed by "query" or "response", these two alone, "CLIENT_QUERY" or "CQ"'
)


def select_types(words: str) -> frozenset[MessageType]:
    """The types that an operator's words mean: ValueError when they mean none.

    A word is a schema name, a mnemonic (`CQ`), a party (`client`, or `all`), a direction (`query`), or a party with a
    direction (`client query`), in any case.
    """
    wanted = words.casefold().replace("_", " ").split()
    chosen = frozenset(type for type in MessageType if wanted and _is_meant(wanted, type))
    if not chosen:
        guess = did_you_mean(words, [*MessageType.__members__, ALL, *PARTIES])
        raise ValueError(f'"{words}" is no message type; {guess}expected {TYPE_FORMS}')
    return chosen


def _is_meant(wanted: list[str], type: MessageType) -> bool:
    party, direction = type.name.casefold().split("_")
    if wanted == [type.mnemonic.casefold()] or wanted == [direction]:
        return True
    return wanted[0] in (ALL, party) and wanted[1:] in ([], [direction])
