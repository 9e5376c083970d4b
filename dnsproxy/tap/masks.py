"""What is hidden of messages: clients' addresses, options, fields; the frame is rewritten around what stays."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from dnsproxy.dnstap.anonymizer import Anonymizer, Prefixing
from dnsproxy.dnstap.encode import octets_field
from dnsproxy.dnstap.redact import STRIPPED, OptionRules, Redactor
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.tap.errors import MissingModule, WrongUsage
from dnsproxy.tap.frame import MAPPED, TapFrame
from dnsproxy.tap.protobuf import octets_of, spans
from dnsproxy.wire import QUESTION_START

Mask = Callable[[TapFrame], TapFrame]

# parties whose messages have the client's address for query_address; the others ask from an address of their own
ASKED_BY_CLIENTS: Final = frozenset(
    [MessageType.CLIENT_QUERY, MessageType.CLIENT_RESPONSE, MessageType.AUTH_QUERY, MessageType.AUTH_RESPONSE]
)
FIELDS: Final = {"identity": 0x0A, "extra": 0x1A}  # keys of Dnstap's fields
MESSAGE_FIELD: Final = 14
MESSAGE, QUERY_ADDRESS, QUERY_MESSAGE, RESPONSE_MESSAGE = 0x72, 0x22, 0x52, 0x72
MESSAGES: Final = frozenset([QUERY_MESSAGE, RESPONSE_MESSAGE])
CHANGED: Final = MESSAGES | {QUERY_ADDRESS}
ADDRESS_OCTETS: Final = (4, 16)
IPV4_BITS, IPV6_BITS = 32, 128
CIPHERS: Final = "cryptography"
STRIPPABLE: Final = (*STRIPPED, *FIELDS, "messages")
_PREFIXES: Final = re.compile(r"(\d{1,2})/(\d{1,3})", re.ASCII)


def mask_from(options: argparse.Namespace) -> Mask | None:
    """What becomes of a frame, by what `common.add_masks` reads; None if all stay as they are.

    WrongUsage says what is wrong with a value.
    """
    stripped = _stripped(options.strip)
    anonymizer = _anonymizer(options)
    if anonymizer is None and not stripped:
        return None
    return Masking(anonymizer, stripped).mask


class Masking:
    """Cuts or replaces clients' addresses, and takes out what is named in `stripped`."""

    def __init__(self, anonymizer: Anonymizer | None, stripped: frozenset[str]) -> None:
        removed = frozenset[int]().union(*(STRIPPED[word] for word in stripped & STRIPPED.keys()))
        self._anonymizer = anonymizer
        self._dropped = frozenset(FIELDS[word] for word in stripped & FIELDS.keys())
        self._has_messages = "messages" not in stripped
        self._redactor = None
        if self._has_messages and (anonymizer is not None or removed):
            self._redactor = Redactor(OptionRules(anonymizer, removed))

    def mask(self, frame: TapFrame) -> TapFrame:
        """The frame itself where there is nothing to hide in it; else one that has all its other fields."""
        octets = frame.payload
        pieces = []
        for key, start, value, behind in spans(octets, 0, len(octets)):
            if key in self._dropped:
                continue
            if key == MESSAGE:
                old = octets_of(octets, value, behind)
                new = self._message(old, frame.type in ASKED_BY_CLIENTS)
                pieces.append(octets[start:behind] if new == old else octets_field(MESSAGE_FIELD, new))
            else:
                pieces.append(octets[start:behind])
        masked = b"".join(pieces)
        return frame if masked == octets else TapFrame(masked)

    def _message(self, octets: bytes, is_of_client: bool) -> bytes:
        pieces = []
        for key, start, value, behind in spans(octets, 0, len(octets)):
            old = octets_of(octets, value, behind) if key in CHANGED else b""
            new: bytes | None = old
            if key == QUERY_ADDRESS and is_of_client:
                new = self._address(old)
            elif key in MESSAGES:
                new = self._dns_message(old)
            if new == old:
                pieces.append(octets[start:behind])
            elif new is not None:
                pieces.append(octets_field(key >> 3, new))
        return b"".join(pieces)

    def _address(self, packed: bytes) -> bytes | None:
        """What may be seen of an address, of a v4-mapped one as of IPv4; None for octets that are none."""
        if self._anonymizer is None:
            return packed
        if len(packed) not in ADDRESS_OCTETS:
            return None
        if packed.startswith(MAPPED):
            return MAPPED + self._anonymizer.address(packed[len(MAPPED) :])
        return self._anonymizer.address(packed)

    def _dns_message(self, octets: bytes) -> bytes | None:
        """What may be seen of a DNS message; one without a header has no options."""
        if not self._has_messages:
            return None
        if self._redactor is None or len(octets) < QUESTION_START:
            return octets
        return self._redactor.message(octets)


def _stripped(values: list[str] | None) -> frozenset[str]:
    words = [word.strip() for word in ",".join(values).split(",")] if values else []
    for word in words:
        if word not in STRIPPABLE:
            raise WrongUsage(f'--strip: "{word}" cannot be taken out; expected {", ".join(STRIPPABLE)}')
    return frozenset(words)


def _anonymizer(options: argparse.Namespace) -> Anonymizer | None:
    if options.mask is not None and options.pseudonymize is not None:
        raise WrongUsage("--mask and --pseudonymize both say what stands for an address; expected one of them")
    if options.mask is not None:
        return _prefixes(options.mask)
    return None if options.pseudonymize is None else _pseudonyms(options.pseudonymize)


def _prefixes(text: str) -> Anonymizer:
    match = _PREFIXES.fullmatch(text)
    if match is None or int(match[1]) > IPV4_BITS or int(match[2]) > IPV6_BITS:
        raise WrongUsage(f'--mask: "{text}" is not two prefix lengths; expected such as 24/56')
    return Prefixing(int(match[1]), int(match[2]))


def _pseudonyms(path: str) -> Anonymizer:
    if find_spec(CIPHERS) is None:
        raise MissingModule("--pseudonymize", CIPHERS)
    from dnsproxy.dnstap.anonymizer import Pseudonyms
    from dnsproxy.dnstap.privacy import KeyFile

    try:
        return Pseudonyms(KeyFile(path).key)
    except ValueError as exc:
        raise WrongUsage(f"--pseudonymize: {exc}") from exc
