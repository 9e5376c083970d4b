"""Numbers and their words as miekg/dns 1.1.50 knows them; what is not here it prints as a number or not at all."""

from __future__ import annotations

from typing import Final

from dnsproxy.tap.words import EXTENDED_ERRORS

_TYPES: Final = """
    0 None 1 A 2 NS 3 MD 4 MF 5 CNAME 6 SOA 7 MB 8 MG 9 MR 10 NULL 12 PTR 13 HINFO 14 MINFO 15 MX 16 TXT 17 RP 18 AFSDB
    19 X25 20 ISDN 21 RT 23 NSAP-PTR 24 SIG 25 KEY 26 PX 27 GPOS 28 AAAA 29 LOC 30 NXT 31 EID 32 NIMLOC 33 SRV 34 ATMA
    35 NAPTR 36 KX 37 CERT 39 DNAME 41 OPT 42 APL 43 DS 44 SSHFP 46 RRSIG 47 NSEC 48 DNSKEY 49 DHCID 50 NSEC3
    51 NSEC3PARAM 52 TLSA 53 SMIMEA 55 HIP 56 NINFO 57 RKEY 58 TALINK 59 CDS 60 CDNSKEY 61 OPENPGPKEY 62 CSYNC 63 ZONEMD
    64 SVCB 65 HTTPS 99 SPF 100 UINFO 101 UID 102 GID 103 UNSPEC 104 NID 105 L32 106 L64 107 LP 108 EUI48 109 EUI64
    249 TKEY 250 TSIG 251 IXFR 252 AXFR 253 MAILB 254 MAILA 255 ANY 256 URI 257 CAA 258 AVC 32768 TA 32769 DLV
    65535 Reserved
"""
_ALGORITHMS: Final = """
    1 RSAMD5 2 DH 3 DSA 5 RSASHA1 6 DSA-NSEC3-SHA1 7 RSASHA1-NSEC3-SHA1 8 RSASHA256 10 RSASHA512 12 ECC-GOST
    13 ECDSAP256SHA256 14 ECDSAP384SHA384 15 ED25519 16 ED448 252 INDIRECT 253 PRIVATEDNS 254 PRIVATEOID
"""


def _table(text: str) -> dict[int, str]:
    words = text.split()
    return {int(number): word for number, word in zip(words[::2], words[1::2], strict=True)}


TYPES: Final = _table(_TYPES)
CLASSES: Final = _table("1 IN 2 CS 3 CH 4 HS 254 NONE")  # ANY is the name of a type too, and left out therefore
OPCODES: Final = _table("0 QUERY 1 IQUERY 2 STATUS 4 NOTIFY 5 UPDATE")
RCODES: Final = _table(
    "0 NOERROR 1 FORMERR 2 SERVFAIL 3 NXDOMAIN 4 NOTIMP 5 REFUSED 6 YXDOMAIN 7 YXRRSET 8 NXRRSET 9 NOTAUTH 10 NOTZONE "
    "16 BADSIG 17 BADKEY 18 BADTIME 19 BADMODE 20 BADNAME 21 BADALG 22 BADTRUNC 23 BADCOOKIE"
)
ALGORITHMS: Final = _table(_ALGORITHMS)
HASHES: Final = _table("1 SHA1 2 SHA256 3 GOST94 4 SHA384 5 SHA512")
CERTIFICATES: Final = _table("1 PKIX 2 SPKI 3 PGP 4 IPIX 5 ISPKI 6 IPGP 7 ACPKIX 8 IACPKIX 253 URI 254 OID")
PARAMETERS: Final = _table("0 mandatory 1 alpn 2 no-default-alpn 3 port 4 ipv4hint 5 ech 6 ipv6hint 7 dohpath")
ERRORS: Final = ("Other", *EXTENDED_ERRORS[1:25])
"""Of extended DNS errors (RFC 8914), by code; BIND has the same words."""


def type_word(number: int) -> str:
    """`AAAA`, and `TYPE65534` where there is no word."""
    return TYPES.get(number) or f"TYPE{number}"


def class_word(number: int) -> str:
    """`IN`, and `CLASS255` where there is no word."""
    return CLASSES.get(number) or f"CLASS{number}"
