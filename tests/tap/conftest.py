"""What the tests of `dnsproxy tap` share."""

import pytest


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Octets are named by their place: some have an ID of chance, and processes must agree on the tests there are."""
    return argname if isinstance(val, bytes) else None
