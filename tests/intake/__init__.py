"""Tests of dnsproxy/intake.py."""
