"""Tests of the bench's arithmetic: what it reads, judges and draws."""
