"""As many open files as a command needs, as far as the system lets us have them."""

from __future__ import annotations

import contextlib
import resource


def allow_descriptors(count: int) -> None:
    """Raise the limit, unless it is high enough; nothing happens where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
