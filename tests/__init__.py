"""Tests: they mirror the tree; interop/ meets real programs, scenarios/ hold the proxy to its interface."""
