"""The keys of `[cache]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dnsproxy.config import Duration, OptionError, Size, option


@dataclass(frozen=True)
class CacheConfig:
    """`[cache]`: how much is kept, for how long, and what happens near and past the end."""

    size: Size = option(
        32 * 2**20, minimum=1024, help="octets of answers, keys and bookkeeping; memory stays below 3 ×"
    )
    min_ttl: Duration = option(
        0.0, help="answers are kept at least this long; negative ones and TTL 0 are not affected"
    )
    max_ttl: Duration = option(86400.0, minimum=1.0, help="answers are kept at most this long")
    max_negative_ttl: Duration = option(3600.0, help="NXDOMAIN and NODATA are kept at most this long (RFC 2308)")
    serve_stale: Duration | Literal[False] = option(
        False, help="how long past its end an answer may be given while upstreams fail (RFC 8767); false: never"
    )
    prefetch: int = option(0, minimum=0, help="hits that make a name popular: it is refreshed before its end; 0: off")

    def __post_init__(self) -> None:
        if self.min_ttl > self.max_ttl:
            raise OptionError("min_ttl", "is longer than max_ttl; expected at most that")

    @property
    def stale_s(self) -> float:
        """Seconds past expiry that an answer may be served."""
        return self.serve_stale or 0.0
