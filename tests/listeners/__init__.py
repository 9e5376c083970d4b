"""Tests of dnsproxy/listeners."""
