"""Tests of DNS over HTTPS upstreams."""
