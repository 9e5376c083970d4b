"""Tests of dnsproxy.dnstap."""
