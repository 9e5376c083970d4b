"""Tests of dnsproxy/datagram.py."""
