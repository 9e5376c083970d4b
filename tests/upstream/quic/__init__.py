"""Tests of DNS over QUIC upstreams, and HTTP/3."""
