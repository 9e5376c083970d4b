"""Fixtures that several modules of tests share."""

from tests.upstream.https_world import authority, clock, context, open_upstream

__all__ = ["authority", "clock", "context", "open_upstream"]
