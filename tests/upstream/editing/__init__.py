"""Tests of queries that are edited on their way."""
