"""Words for numbers: the schema's, and those of IANA's DNS registries; an unknown number is shown as it is."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.schema import HttpProtocol, PolicyAction, PolicyMatch, SocketFamily, SocketProtocol
from dnsproxy.errors import RCODES as _RCODE_NUMBERS

FAMILIES: Final = {int(each): each.name for each in SocketFamily}
PROTOCOLS: Final = {int(each): each.name for each in SocketProtocol}
HTTP_PROTOCOLS: Final = {int(each): each.name for each in HttpProtocol}
ACTIONS: Final = {int(each): each.name for each in PolicyAction}
MATCHES: Final = {int(each): each.name for each in PolicyMatch}

OPCODES: Final = {0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE", 6: "DSO"}
RCODES: Final = {number: word for word, number in _RCODE_NUMBERS.items()}
CLASSES: Final = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
_TYPES: Final = """
    1 A 2 NS 3 MD 4 MF 5 CNAME 6 SOA 7 MB 8 MG 9 MR 10 NULL 11 WKS 12 PTR 13 HINFO 14 MINFO 15 MX 16 TXT 17 RP 18 AFSDB
    19 X25 20 ISDN 21 RT 22 NSAP 23 NSAP-PTR 24 SIG 25 KEY 26 PX 27 GPOS 28 AAAA 29 LOC 30 NXT 31 EID 32 NIMLOC 33 SRV
    34 ATMA 35 NAPTR 36 KX 37 CERT 38 A6 39 DNAME 40 SINK 41 OPT 42 APL 43 DS 44 SSHFP 45 IPSECKEY 46 RRSIG 47 NSEC
    48 DNSKEY 49 DHCID 50 NSEC3 51 NSEC3PARAM 52 TLSA 53 SMIMEA 55 HIP 56 NINFO 57 RKEY 58 TALINK 59 CDS 60 CDNSKEY
    61 OPENPGPKEY 62 CSYNC 63 ZONEMD 64 SVCB 65 HTTPS 66 DSYNC 67 HHIT 68 BRID 99 SPF 100 UINFO 101 UID 102 GID
    103 UNSPEC 104 NID 105 L32 106 L64 107 LP 108 EUI48 109 EUI64 128 NXNAME 249 TKEY 250 TSIG 251 IXFR 252 AXFR
    253 MAILB 254 MAILA 255 ANY 256 URI 257 CAA 258 AVC 259 DOA 260 AMTRELAY 261 RESINFO 262 WALLET 263 CLA 264 IPN
    32768 TA 32769 DLV
"""
TYPES: Final = {int(number): word for number, word in zip(_TYPES.split()[::2], _TYPES.split()[1::2], strict=True)}
OPTIONS: Final = {
    1: "LLQ",
    2: "Update Lease",
    3: "NSID",
    5: "DAU",
    6: "DHU",
    7: "N3U",
    8: "edns-client-subnet",
    9: "EDNS EXPIRE",
    10: "COOKIE",
    11: "edns-tcp-keepalive",
    12: "Padding",
    13: "CHAIN",
    14: "edns-key-tag",
    15: "Extended DNS Error",
    16: "EDNS-Client-Tag",
    17: "EDNS-Server-Tag",
    18: "Report-Channel",
    19: "ZONEVERSION",
    20292: "Umbrella Ident",
    26946: "DeviceID",
}
EXTENDED_ERRORS: Final = (
    "Other Error",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
    "Signature Expired before Valid",
    "Too Early",
    "Unsupported NSEC3 Iterations Value",
    "Unable to conform to policy",
    "Synthesized",
    "Invalid Query Type",
)


def word(words: dict[int, str], number: int) -> str:
    """The word, or the number in digits."""
    return words.get(number) or str(number)


def rcode_word(rcode: int) -> str:
    """`NOERROR`, …; the number in digits where there is no word."""
    return RCODES.get(rcode) or str(rcode)
