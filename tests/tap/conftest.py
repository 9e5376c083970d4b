"""What the tests of `dnsproxy tap` share."""

import pytest
from hypothesis import settings

# the project's profile, without a deadline for an example: tests share their machine
settings.register_profile("tap", settings.get_profile("dnsproxy"), deadline=None)
settings.load_profile("tap")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Octets are named by their place: some have an ID of chance, and processes must agree on the tests there are."""
    return argname if isinstance(val, bytes) else None
