"""Tests of dnsproxy/upstream."""
