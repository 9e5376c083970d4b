"""Fixtures that several modules of tests share."""

from tests.upstream.http.world import authority, clock, context, open_upstream

__all__ = ["authority", "clock", "context", "open_upstream"]
