"""Which exchanges a tap wants to see, by what the client asked and by what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True)
class Selection:
    """What a `[[dnstap]]` stanza selects beside types; an empty field selects everything, and all must hold together.

    `zones` are wire names, lower-cased; `protocols` the schema's words. `sample` is the part of client queries that is
    shown, `sample_text` how the operator wrote it, and `always` what is shown whether sampled or not: "errors", "slow",
    "policy". With "slow" among them `slower_than_s` is only the threshold of slow; otherwise it selects.
    """

    zones: tuple[bytes, ...] = ()
    clients: tuple[IPv4Network | IPv6Network, ...] = ()
    qtypes: frozenset[int] = frozenset()
    rcodes: frozenset[int] = frozenset()
    protocols: frozenset[str] = frozenset()
    slower_than_s: float | None = None
    only_errors: bool = False
    sample: float | None = None
    sample_text: str = ""
    always: frozenset[str] = frozenset()
