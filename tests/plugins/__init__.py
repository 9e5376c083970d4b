"""Tests of the plugins that come with the proxy."""
