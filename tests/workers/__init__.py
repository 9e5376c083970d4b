"""Tests of dnsproxy/workers."""
