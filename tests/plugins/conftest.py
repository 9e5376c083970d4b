"""Chance that comes out the same each time."""

import random

import pytest


@pytest.fixture
def seeded() -> None:
    random.seed(7)
